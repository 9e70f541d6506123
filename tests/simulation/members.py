"""Devices of the users of a world, with a reader of the ledger each, and what they left on purpose."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from chatws.client.events import Closed, Disconnected, Event, Frame, Received, Refused
from chatws.client.positions import Position
from realtime.close_codes import CloseCode
from tests.simulation.clients import Device, Place

if TYPE_CHECKING:
    from tests.simulation.world import World

URL = "wss://gateway/ws"
TOKEN_SECONDS = 7 * 86_400
MAY_BE_REFUSED = (403, 404)
"""A message of who is no member any more."""


class Member(Device):
    """A device whose frames the ledger sees. ``left``: chat groups that it left although its user is in them."""

    def __init__(self, world: "World", user_id: int, number: int) -> None:
        self.reader = world.ledger.reader(f"user {user_id} device {number}", user_id)
        self.left: set[str] = set()
        self.is_over = False
        self.may_be_ended = False
        """Whether an administrator has ended one of its connections."""
        self._delivered: set[str] = set()
        """Messages that its application has received."""
        self._world = world
        super().__init__(
            world.scheduler, world.network, f"device-{number}", user_id, url=URL, observe=self.reader.observe,
            acked=self._was_acked, refused=self._was_refused, token_seconds=TOKEN_SECONDS,
            shuffled=world.shape.shuffled,
        )  # fmt: skip
        self.start()

    @property
    def connection_id(self) -> str:
        """The id of its last connection."""
        return self.reader._connection_id

    async def _run(self, positions: Mapping[str, Position] | None) -> None:
        await super()._run(positions)
        if self.closed is not None and self.closed.code == CloseCode.FORBIDDEN and self.may_be_ended:
            self.is_over = True
            self.reader.finished()

    def _was_acked(self, message_id: str, group_id: str, began: float) -> None:
        self._world.ledger.acked(message_id, group_id, began, self.name)

    def _was_refused(self, group_id: str, error: Refused) -> None:
        if error.code in MAY_BE_REFUSED:
            self._world.refused.add((self.user_id, group_id))
        else:
            self._world.problems.append(f"{self.name}: a message to {group_id} was refused: {error.code} {error}")

    def _happened(self, event: Event) -> None:
        super()._happened(event)
        if isinstance(event, Disconnected):
            self.reader.disconnected()
        elif isinstance(event, Received) and event.frame["type"] == "new_message":
            message_id = event.frame["data"]["message_id"]
            if message_id in self._delivered:
                self._world.problems.append(f"{self.name}: its application received message {message_id} again")
            self._delivered.add(message_id)

    def _observe(self, frame: Frame) -> None:
        super()._observe(frame)
        kind, data = frame["type"], frame["data"]
        if kind == "group_left" and frame.get("message_id"):  # the answer to `leave_group`
            self.left.add(data["group_id"])
        elif kind == "group_joined":
            self.left.discard(data["group_id"])
        elif kind == "auth_success" and "feeds" in data:  # a new connection
            self.left.clear()

    def leave(self, group_id: str) -> None:
        """Leave a chat group, on this device only."""
        self.process.start(self._leave_or_join(group_id, joins=False), "leaving")

    def join(self, group_id: str) -> None:
        """Join a chat group again."""
        if self.is_running:
            self.process.start(self._leave_or_join(group_id, joins=True), "joining")

    async def _leave_or_join(self, group_id: str, *, joins: bool) -> None:
        if self.client is not None:
            with suppress(Refused, Closed):
                await (self.client.join if joins else self.client.leave)(group_id)

    def finish(self) -> None:
        """End the device for good, with a word."""
        self.is_over = True
        self.reader.finished()
        self.close()

    def vanish(self) -> None:
        """End the device for good, without a word."""
        self.is_over = True
        self.reader.finished()
        super().vanish()

    def differences(self, groups: set[str], ends: Mapping[str, Place]) -> list[str]:
        if self.is_over:
            return []
        if self.closed is not None:
            return [f"{self.name} of user {self.user_id}: the client ended: {self.closed}"]
        found = super().differences(groups - self.left, ends)
        if self.client is not None and self.client.pending:
            found.append(f"{self.name} waits for {[frame['type'] for frame in self.client.pending]}")
        return found
