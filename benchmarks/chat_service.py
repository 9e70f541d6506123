"""Run a chat service that only counts, so that the gateway is the limit: groups by a rule, messages not stored.

    python -m benchmarks.chat_service PORT --feeds 1000 --each 1 [--many USER_ID N]

User ``u`` is in ``each`` of ``feeds`` groups, from ``g{u * each % feeds}`` on. The user of ``--many`` has N own groups.
"""

import argparse
import asyncio

import grpc

from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server


class CountingService(ChatServiceServicer):
    """Answer the two calls that a gateway makes most often."""

    def __init__(self, feeds: int, each: int, many: tuple[int, int]) -> None:
        self._feeds, self._each, self._many = feeds, each, many
        self.saved = 0

    async def GetUserGroups(  # noqa: N802
        self, request: pb.GetUserGroupsReq, context: object
    ) -> pb.GetUserGroupsResp:
        names = self._groups(request.user_id)
        page = max(request.page, 1) - 1
        shown = names[page * request.page_size : (page + 1) * request.page_size]
        return pb.GetUserGroupsResp(groups=[pb.UserGroupInfo(group_id=name) for name in shown], total=len(names))

    async def SaveMessage(  # noqa: N802
        self, request: pb.SaveMessageReq, context: object
    ) -> pb.SaveMessageResp:
        self.saved += 1
        return pb.SaveMessageResp(success=True, message_id=request.message_id)

    def _groups(self, user_id: int) -> list[str]:
        if user_id == self._many[0]:
            return [f"idle{number}" for number in range(self._many[1])]
        return [f"g{(user_id * self._each + number) % self._feeds}" for number in range(self._each)]


async def serve(given: argparse.Namespace) -> None:
    server = grpc.aio.server()
    service = CountingService(given.feeds, given.each, tuple(given.many))  # type: ignore[abstract]  # gRPC answers the other calls
    add_ChatServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{given.port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chat_service")
    parser.add_argument("port", type=int)
    parser.add_argument("--feeds", type=int, default=1)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--many", type=int, nargs=2, default=(0, 0), metavar=("USER_ID", "N"))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
