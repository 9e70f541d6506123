"""Somebody in a history: a user's device with the project's own client, and what it has seen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chatws.client.events import Disconnected, Event
from tests.simulation.clients import Device, Place
from tests.support.ledger import Kind

if TYPE_CHECKING:
    from tests.simulation.scripted.story import Story

Frame = dict[str, Any]


class Person(Device):
    """A user at one device. ``frames``: all that arrived, each with its moment."""

    def __init__(self, story: "Story", name: str, user_id: int, gateway: int, **options: Any) -> None:
        world = story.world
        self.story = story
        self.gateway = gateway
        self._hangs = False
        self.may_end = False
        """Whether the client may end by itself: its connection is closed for good."""
        self.left: set[str] = set()
        """Chat groups that this device left although its user is in them."""
        self.frames: list[tuple[float, Frame]] = []
        self.reader = world.ledger.reader(name, user_id)
        super().__init__(
            world.scheduler, world.network, name, user_id,
            url=f"wss://gateway-{gateway}/ws", observe=self._saw, **options,
        )  # fmt: skip
        self.start()

    # What the person does. Each returns a task, which ends with the answer.

    def does(self, work: Any) -> Any:
        """Begin to do something with the client."""
        task = self.process.start(work, "doing")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def say(self, group_id: str, text: str) -> Any:
        """Send a message; the task's result is its id."""
        assert self.client is not None
        return self._sends(group_id, self.client.send_message(group_id, text))

    def resend(self, frame: Frame) -> Any:
        """Send a frame of a message, which another device may have sent as well."""
        return self._sends(frame["data"]["group_id"], self._resend(frame))

    async def _resend(self, frame: Frame) -> str:
        assert self.client is not None
        return str((await self.client.resend(frame))["message_id"])

    def _sends(self, group_id: str, work: Any) -> Any:
        began, ledger, task = self.story.now, self.story.world.ledger, self.does(work)
        task.add_done_callback(
            lambda done: (
                ledger.acked(done.result(), group_id, began, self.name)
                if is_answered(done) and done.result() not in ledger.sent  # the same frame may be sent again
                else None
            )
        )  # fmt: skip
        return task

    def marks(self, group_id: str, message_id: str) -> Any:
        """Mark a chat group as read up to a message."""
        assert self.client is not None
        return self.does(self.client.mark_read(group_id, message_id))

    def asks_who_is_here(self, group_id: str) -> Any:
        """Ask which members of a chat group are online."""
        assert self.client is not None
        return self.does(self.client.presence(group_id))

    def pings(self) -> None:
        """Ask whether the connection lives."""
        assert self.client is not None
        self.process.loop.call_soon(self.client.hurry)

    def join(self, group_id: str) -> Any:
        assert self.client is not None
        task = self.does(self.client.join(group_id))
        task.add_done_callback(lambda done: self.left.discard(group_id) if is_answered(done) else None)
        return task

    def leave(self, group_id: str) -> Any:
        assert self.client is not None
        self.left.add(group_id)
        return self.does(self.client.leave(group_id))

    def is_away(self) -> None:
        """Lose the program and its connection; `returns` starts it with the positions that it had."""
        assert self.client is not None
        self._positions = self.client.positions.all()
        self.reader.disconnected()
        self._away = self.story.world.ledger.causes.begin(Kind("a device is away"), readers=[self.reader.name])
        self.kill()

    def returns(self) -> None:
        """Come back after `is_away`."""
        self.story.world.ledger.causes.end(self._away)
        self.start(self._positions)

    def hangs_once(self) -> None:
        """Let the next call of the token function never end."""
        self._hangs = True

    async def _token(self, *, fresh: bool) -> str:
        if self._hangs:
            self._hangs = False
            await self.process.loop.create_future()
        return await super()._token(fresh=fresh)

    def moves(self, gateway: int) -> None:
        """Connect to another gateway from now on."""
        assert self.client is not None
        self.gateway, self._url = gateway, f"wss://gateway-{gateway}/ws"
        self.client.url = self._url

    def goes(self) -> None:
        """Close the connection for good."""
        self.reader.disconnected(for_good=True)
        self.close()

    def was_closed_with(self, code: int) -> bool:
        """Return whether a connection was closed with this code, also the one that ended the client."""
        return code in self.closes or (self.closed is not None and self.closed.code == code)

    # What the person has seen

    def saw(self, kind: str, **data: Any) -> list[Frame]:
        """Return the frames of a type whose data has these values."""
        frames = (frame for _, frame in self.frames if frame["type"] == kind)
        return [frame for frame in frames if all(frame["data"].get(name) == value for name, value in data.items())]

    def read(self, text: str) -> bool:
        """Return whether a message with this text has arrived."""
        return bool(self.saw("new_message", content=text))

    @property
    def texts(self) -> list[str]:
        """The texts of all messages that arrived, in their order."""
        return [frame["data"]["content"] for frame in self.saw("new_message")]

    def differences(self, groups: set[str], ends: Mapping[str, Place]) -> list[str]:
        found = super().differences(groups - self.left, ends)
        if self.closed is not None and not self.may_end:
            found.append(f"{self.name}: the client has ended: {self.closed}")
        if self.client is not None and self.is_running and self.client.pending:
            found.append(f"{self.name} waits for {[frame['type'] for frame in self.client.pending]}")
        return found

    def _saw(self, frame: Frame) -> None:
        self.frames.append((self.story.now, frame))
        place = f"{frame['offset']} of {frame['feed'][:12]} " if "offset" in frame else ""
        self.story.world.log.note(f"{self.name} receives {frame['type']} {place}{str(frame['data'])[:90]}")
        self.reader.observe(frame)

    def _happened(self, event: Event) -> None:
        super()._happened(event)
        if isinstance(event, Disconnected):
            self.story.world.log.note(f"{self.name}'s connection ended with {event.code} {event.reason}")
            self.reader.disconnected(event.code)


def is_answered(task: Any) -> bool:
    """Return whether a task of a person has ended without an error."""
    return task.done() and not task.cancelled() and task.exception() is None
