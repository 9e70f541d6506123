"""Call the platform's user service, which knows names and avatars, over gRPC.

This module is imported only if `CHATWS_USER_RPC_TARGET` is set.
"""

from collections.abc import Collection, Sequence

import grpc

from chatws.chat_service.channel import Channel, NoInstance
from chatws.chat_service.pb import user_pb2 as pb
from chatws.chat_service.pb.user_pb2_grpc import UserBasicServiceStub
from chatws.chat_service.port import User, UserServiceError
from chatws.conf import ChatConf

SERVICE = "user.UserBasicService"
LARGEST_ID = 2**63 - 1
"""The service's ids are signed."""


class GrpcUsers:
    """`Users` behind a channel, which is created by the first call, in that call's event loop.

    Raises:
        ImproperlyConfigured: the target is invalid; the message names `CHATWS_USER_RPC_TARGET`.
    """

    def __init__(self, conf: ChatConf) -> None:
        self._seconds = conf.rpc_seconds
        self._channel = Channel("CHATWS_USER_RPC_TARGET", conf.user_rpc_target, SERVICE, tls_ca=conf.rpc_tls_ca)

    async def users(self, user_ids: Collection[int]) -> list[User]:
        request = pb.GetGroupUserReq(ids=[user_id for user_id in user_ids if user_id <= LARGEST_ID])
        try:
            stub = UserBasicServiceStub(await self._channel.open(self._seconds))
            answer = await stub.GetGroupUser(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            raise UserServiceError(f"the user service at {self._channel.address}: {reason}") from error
        except NoInstance as error:
            raise UserServiceError(f"the user service has no known instance: {error}") from None
        return [User(user.id, user.nickname, user.avatar_url) for user in answer.users]

    @property
    def instances(self) -> Sequence[str]:
        return self._channel.instances

    async def state(self) -> str:
        return await self._channel.state()

    async def close(self) -> None:
        await self._channel.close()
