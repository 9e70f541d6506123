"""The words in which histories are told: who says what to whom, who is added and removed, and how it ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.events.routes import MEMBER_REMOVED, MESSAGE_NEW
from realtime.feeds.names import group_feed, user_feed
from realtime.hub.subscription import LocalFeed
from realtime.redis import keys
from tests.simulation import checks
from tests.simulation.chat_service.rules import event_of
from tests.simulation.scripted.person import Person
from tests.simulation.scripted.stage import Stage

SETTLE_SECONDS, QUIET_SECONDS = 13.0, 30.0
"""After a history: until deliveries and subscriptions are right; until presence, audit and keys are as well."""
FIRST_USER = 101


class Story(Stage):
    """A stage with people. Like what breaks, what is said and changed begins at once.

    Attributes:
        expected: Texts of what may be logged, and of what the oracle may find.
        is_quiet_checked: Whether the end waits until presence, the audit and Redis's keys are right, and checks them.
        is_limited: Whether users are in more groups than their connections receive: then the oracle does not know who
            receives what.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.people: list[Person] = []
        self.expected: list[str] = []
        self.is_quiet_checked = False
        self.is_limited = False
        self._users: dict[str, int] = {}
        self._posted = 0

    # People and groups

    def people_of(self, *names: str, gateway: int = 0) -> list[Person]:
        """Connect some people to a gateway, and wait until they are connected."""
        people = [self.person(name, gateway) for name in names]
        self.until(lambda: all(person.is_online for person in people))
        return people

    def person(self, name: str, gateway: int = 0, **options: Any) -> Person:
        """Begin to connect somebody; people whose names begin with the same word are one user's devices."""
        person = Person(self, name, self.user_of(name), gateway, **options)
        self.people.append(person)
        clients: list[Any] = self.world.clients
        clients.append(person)
        return person

    def user_of(self, name: str) -> int:
        """Return the user id of a name; ``ann's phone`` is ann's."""
        user = name.partition("'")[0]
        if user not in self._users:
            self._users[user] = FIRST_USER + len(self._users)
            self.world.users.append(self._users[user])
        return self._users[user]

    def group(self, *members: Person | str) -> str:
        """Create a chat group with these members, the first its owner, and wait until all that are here receive it."""
        ids = [self._id(member) for member in members]
        group_id = self.chat.create(ids[0], *ids[1:])
        here = [person for person in self.people if person.user_id in ids and person.is_online]
        self.until(lambda: all(group_id in person.groups for person in here), within=10)
        return group_id

    def _id(self, member: Person | str) -> int:
        return member.user_id if isinstance(member, Person) else self.user_of(member)

    def add(self, group_id: str, who: Person | str) -> None:
        """Add a member."""
        with self.world.ledger.adding(group_id, self._id(who)):
            self.chat.add(group_id, self._id(who))

    def remove(self, group_id: str, who: Person | str, *, silently: bool = False) -> None:
        """Remove a member; ``silently``: the chat service publishes no event."""
        with self.world.ledger.removing(group_id, self._id(who)):
            if silently:
                self.chat.store.leave(self.chat.store.groups[group_id], self._id(who))
            else:
                self.chat.remove(group_id, self._id(who))

    def post(self, group_id: str, text: str) -> None:
        """Store a message of the chat group's owner, who is connected elsewhere."""
        self._posted += 1
        owner = self.chat.store.groups[group_id].owner_id
        request = pb.SaveMessageReq(
            message_id=f"posted-{self._posted}", group_id=group_id, sender_id=owner, msg_type=1, content=text
        )  # fmt: skip
        self.chat.serve("/chat.ChatService/SaveMessage", request)
        if self.chat.is_platform:  # the other gateway publishes it
            self.post_again(text)
        self.world.ledger.acked(f"posted-{self._posted}", group_id, self.now, "elsewhere")

    def calls_of(self, method: str) -> list[Any]:
        """Return a list of the requests of a method of the chat service from now on; it grows."""
        calls, sound = list[Any](), self.chat.serve

        def serve(path: str, request: Any, lag_seconds: float = 0.0) -> Any:
            if path.endswith(f"/{method}"):
                calls.append(request)
            return sound(path, request, lag_seconds)

        vars(self.chat)["serve"] = serve
        return calls

    def spread(self) -> None:
        """Wait until the topics have spread over the two relays."""
        self.wait(15)
        assert self.holder(MEMBER_REMOVED) is not self.holder(MESSAGE_NEW)

    @contextmanager
    def half_removed(self, group_id: str, who: Person | str) -> Iterator[None]:
        """Remove a member; inside of the block the chat group's feed tells it, and the user's own feed does not yet.

        Messages are relayed by another relay; see `spread`.
        """
        log, relay = keys.feed(group_feed(group_id)).log, self.holder(MEMBER_REMOVED)
        before = self.redis.command("LLEN", log)
        with self.fault("a relay is paused", budget=6.0):
            self.remove(group_id, who)
            self.until(lambda: self.redis.command("LLEN", log) > before)
            with self.held(relay):
                self.wait(0.1)
                yield

    def disband(self, group_id: str) -> None:
        """Disband a chat group, by its owner."""
        with ExitStack() as stack:
            for user_id in self.chat.store.groups[group_id].members:
                stack.enter_context(self.world.ledger.removing(group_id, user_id))
            self.chat.disband(group_id)

    def post_again(self, text: str) -> None:
        """Let the chat service publish a message with this text once more."""
        [message] = [one for one in self.chat.store.messages.values() if one.content == text]
        self.chat.publisher.add(MESSAGE_NEW, event_of(message, ""))

    # What the gateways know

    def feed(self, group_id: str, number: int = 0) -> LocalFeed:
        """Return a chat group's feed, as a gateway knows it."""
        return self.gateway(number).node.hub._feeds[group_feed(group_id)]

    def receives(self, person: Person, group_id: str = "", number: int = 0) -> bool:
        """Return whether a gateway's hub serves somebody a chat group, or the person's own feed."""
        feed = self.gateway(number).node.hub._feeds.get(group_feed(group_id) if group_id else user_feed(person.user_id))
        return feed is not None and any(one.user_id == person.user_id for one in feed.subscribers)

    def connection(self, person: Person) -> Any:
        """Return a person's connection, as its gateway knows it."""
        gateway = self.gateway(person.gateway)
        [found] = [one for one in gateway.node.connections.values() if getattr(one, "user_id", 0) == person.user_id]
        return found

    # The end

    def end(self) -> list[str]:
        """Let the world settle, and return every broken promise."""
        world, found = self.world, list[str]()
        self.wait(SETTLE_SECONDS)
        found += checks.tasks(world) + checks.sizes(world)
        if not self.is_limited:
            found += checks.subscriptions(world)
        if self.is_quiet_checked:
            self.wait(QUIET_SECONDS)
            for check in (checks.presence, checks.audit, checks.redis_keys):
                found += check(world)
        stored = {group: [message.message_id for message in some] for group, some in self.chat.stored.items()}
        changed = {(change.group_id, change.user_id) for change in world.ledger.changes}
        members = {
            person.reader.name: [
                group for group in stored
                if (group, person.user_id) not in changed and person.user_id in self.chat.members_at(group, self.now)
            ]
            for person in self.people
        }  # fmt: skip
        world.ledger.judge(stored, members, by_feed=world.shape.platform)
        found += world.ledger.problems + [f"late: {late}" for late in world.ledger.late]
        found += [f"in the log: {line}" for line in world.log.unexpected]
        return [problem for problem in found if not any(text in problem for text in self.expected)]
