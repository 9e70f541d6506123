"""Fixtures of the tests beside the twin of the Go platform."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from chatws.chat_service.pb.chat_pb2_grpc import ChatServiceStub
from tests.support.platform_stack import PlatformStack
from tests.support.twin.control import Twin


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformStack]:
    unlimited = {f"CHATWS_{what}_PER_SECOND": "0" for what in ("SENDS", "FRAMES", "BYTES")}
    stack = PlatformStack(tmp_path_factory.mktemp("platform"), CHATWS_PUBLIC_STATUS="1", **unlimited)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
async def twin(platform: PlatformStack) -> AsyncIterator[Twin]:
    """Yield the twin; clear its failures afterwards."""
    twin = Twin(platform.rpc_target)
    yield twin
    await twin.tell(saves="", users="", calls="")
    await twin.close()


@pytest.fixture
async def stub(platform: PlatformStack) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(platform.rpc_target) as channel:
        yield ChatServiceStub(channel)
