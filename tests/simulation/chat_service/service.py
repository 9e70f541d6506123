"""The chat service of a world: its script changes groups here, and the oracle reads here what is true."""

from collections.abc import Callable
from typing import Any

from chatws.chat_service.pb import chat_pb2 as pb
from tests.simulation.chat_service.channel import Channel
from tests.simulation.chat_service.faults import Fault, Faults
from tests.simulation.chat_service.instance import Instance
from tests.simulation.chat_service.platform import FAILURE, Platform
from tests.simulation.chat_service.publisher import Publisher
from tests.simulation.chat_service.reference import Reference
from tests.simulation.chat_service.rules import Refusal, Rules
from tests.simulation.chat_service.store import Store, StoredMessage
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import START, Scheduler

REDIS_URL = "redis://redis:6379/0"
LISTINGS = frozenset({"/chat.ChatService/GetUserGroups", "/chat.ChatService/GetGroupMembers"})
PROBLEMS = {
    Fault.OVERLOADED: "service overloaded",
    Fault.UNAVAILABLE: "the chat service's database is unavailable",
}

__all__ = ["ChatService", "Refusal"]


class ChatService:
    """A chat service of one database and some instances, with ``target`` as its address.

    With ``platform`` it behaves as the Go platform's: the gateways publish messages.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        network: Network,
        *,
        instances: int = 1,
        platform: bool = False,
        redis_url: str = REDIS_URL,
    ) -> None:
        self.scheduler = scheduler
        self.network = network
        self.is_platform = platform
        self.wall_offset = 0.0
        self.faults = Faults()
        self.after_page: Callable[[str, Any], None] | None = None
        """Called with the method and the request after each page of a listing: the listing may be changed there."""
        self.lag_seconds = 0.0
        """How far behind the replicas are that all instances read from. Changes see what is stored."""
        self.store = Store(lambda: scheduler.now, lambda: START + scheduler.now + self.wall_offset)
        self.publisher = Publisher(scheduler, network, redis_url, as_go=platform)
        draws = scheduler.draws("the chat service")
        self.rules: Rules = (Platform if platform else Reference)(self.store, self.publisher.add, draws)
        self.instances = [Instance(self, f"chat-{number}") for number in range(1, instances + 1)]
        self._activities = 0

    @property
    def target(self) -> str:
        return ",".join(instance.address for instance in self.instances)

    def start(self) -> None:
        """Start the instances and the publisher."""
        for instance in self.instances:
            instance.start()
        self.publisher.start()

    def channel(self, process: Process) -> Channel:
        """Return a channel of a process to this service, for `GrpcChatGateway`."""
        return Channel("CHATWS_RPC_TARGET", self.target, process=process)

    @property
    def process(self) -> Process | None:
        """The process that publishes the events."""
        return self.publisher.process

    # The truth

    @property
    def stored(self) -> dict[str, list[StoredMessage]]:
        """The messages of each chat group, in the order in which they were stored."""
        return self.store.stored

    def members_at(self, group_id: str, at: float) -> set[int]:
        """Return who was in a chat group at a moment, in seconds of the world."""
        return self.store.members_at(group_id, at)

    def intervals(self, group_id: str) -> list[tuple[int, float, float]]:
        """Return the user of each membership of a chat group, and from when until when it lasted (``inf``: still)."""
        return self.store.intervals(group_id)

    def groups_of(self, user_id: int) -> set[str]:
        """Return the chat groups that a user is in now."""
        return {
            one.group_id
            for one in self.store.memberships_as_of(user_id, self.scheduler.now)
            if self.store.groups[one.group_id].disbanded_at > self.scheduler.now
        }

    # The script. A method raises `Refusal` as its call would.

    def create(self, owner_id: int, *members: int, name: str = "a group") -> str:
        """Create a chat group with these members; return its id."""
        self._activities += 1
        request = pb.CreateGroupReq(activity_id=self._activities, name=name, owner_id=owner_id)
        group_id = str(self._change("CreateGroup", request).group_id)
        self._tell(owner_id, "group_created")
        for user_id in members:
            self.add(group_id, user_id)
        return group_id

    def add(self, group_id: str, user_id: int) -> None:
        """Add a member."""
        self._change("AddGroupMember", pb.AddGroupMemberReq(group_id=group_id, user_id=user_id))
        if self.is_platform:
            self.publisher.add("chat.group.member.added", {"group_id": group_id, "user_id": user_id})
            self._tell(user_id, "group_joined")

    def remove(self, group_id: str, user_id: int) -> None:
        """Remove a member, by the owner."""
        owner_id = self.store.groups[group_id].owner_id
        request = pb.RemoveGroupMemberReq(group_id=group_id, user_id=user_id, operator_id=owner_id)
        self._change("RemoveGroupMember", request)
        if self.is_platform:
            self.publisher.add("chat.group.member.removed", {"group_id": group_id, "user_id": user_id})
            self._tell(user_id, "group_left")

    def disband(self, group_id: str) -> None:
        """Disband a chat group, by its owner."""
        group = self.store.groups[group_id]
        members = list(group.members)
        self._change("DisbandGroup", pb.DisbandGroupReq(group_id=group_id, operator_id=group.owner_id))
        for user_id in members:
            self._tell(user_id, "activity_cancelled")

    def notify(self, user_id: int, kind: str = "news", title: str = "a title", content: str = "") -> str:
        """Notify a user; return the notification's id."""
        request = pb.CreateNotificationReq(user_id=user_id, type=kind, title=title, content=content)
        return str(self._change("CreateNotification", request).notification_id)

    def verify(self, user_id: int, verify_id: int, status: int) -> None:
        """Publish the progress of a user's verification."""
        payload = {
            "user_id": user_id, "verify_id": verify_id, "status": status, "operator": "eve", "refresh": True,
            "timestamp": self.store.time(),
        }  # fmt: skip
        self.publisher.add("verify:progress", payload)

    def _tell(self, user_id: int, kind: str) -> None:
        """Notify a user of a change, as the platform's activity service makes it do."""
        if self.is_platform:
            self.notify(user_id, kind, kind, kind)

    def _change(self, method: str, request: Any) -> Any:
        return self.rules.call(f"/chat.ChatService/{method}", request, self.scheduler.now)

    # The instances

    def serve(self, path: str, request: Any, lag_seconds: float = 0.0) -> Any:
        """Serve a call; raise `Refusal`."""
        response = self.rules.call(path, request, self.scheduler.now - max(lag_seconds, self.lag_seconds))
        if self.after_page is not None and path in LISTINGS:
            self.after_page(path.rpartition("/")[2], request)
        return response

    def problem_of(self, fault: Fault) -> str:
        """Return the details of the status of a fault."""
        return PROBLEMS.get(fault, FAILURE if self.is_platform else "Exception calling application: failed")
