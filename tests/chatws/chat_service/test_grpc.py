"""Check the chat service over gRPC: targets, errors, pages that change during a reading."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ImproperlyConfigured
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chatws.chat_service.channel import target_of
from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.pb import chat_pb2 as pb
from chatws.chat_service.pb import chat_pb2_grpc
from chatws.chat_service.port import ChatServiceError, Group, Page, all_user_group_ids
from chatws.conf import ChatConf
from tests.support.chat import Chat, new_user
from tests.support.redis import free_port
from tests.support.stack import Stack
from tests.support.waiting import LIMIT


@pytest.mark.parametrize(
    ("setting", "target"),
    [
        ("127.0.0.1:9003", "ipv4:127.0.0.1:9003"),
        ("10.0.0.5:1, 10.0.0.6:2", "ipv4:10.0.0.5:1,10.0.0.6:2"),
        ("[::1]:9003,[::2]:9003", "ipv6:[::1]:9003,[::2]:9003"),
        ("chat-rpc.internal:9003", ""),
        ("localhost:9003", ""),
    ],
)
def test_target_is_addresses_or_one_name(setting: str, target: str) -> None:
    assert target_of("CHATWS_RPC_TARGET", setting) == target


@pytest.mark.parametrize("setting", [
    "", ",", "name", "a:1,b:2", "10.0.0.5", "10.0.0.5:1,name:2", "name:port", "::1",
    "10.0.0.5:0", "10.0.0.5:65536", "name:99999", "http://name:1", "a/b:1", "u:p@name:1", "[::1]:x",
    "10.0.0.5:1,[::1]:1",
])  # fmt: skip
def test_invalid_target_error_names_the_variable(setting: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CHATWS_RPC_TARGET"):
        target_of("CHATWS_RPC_TARGET", setting)


@pytest.fixture
async def gateway(stack: Stack) -> AsyncIterator[GrpcChatGateway]:
    gateway = GrpcChatGateway(ChatConf(rpc_target=stack.rpc_target, rpc_seconds=LIMIT))
    yield gateway
    await gateway.close()


async def save(gateway: GrpcChatGateway, group_id: str, user: int, message_id: str = "m") -> str:
    return await gateway.save_message(
        message_id=f"{message_id}-{user}", group_id=group_id, sender_id=user, msg_type=1, content="x", image_url=""
    )


async def test_grpc_status_becomes_an_error_code(gateway: GrpcChatGateway, chat: Chat) -> None:
    owner = new_user()
    group = await chat.group(owner)
    assert await save(gateway, group, owner) == f"m-{owner}"
    for code, group_id, user in ((404, "none", owner), (403, group, new_user()), (400, "", owner)):
        with pytest.raises(ChatServiceError) as refused:
            await save(gateway, group_id, user)
        assert refused.value.code == code
    await chat.disband(group, owner)
    with pytest.raises(ChatServiceError) as refused:
        await save(gateway, group, owner, "other")
    assert refused.value.code == 409


async def test_every_call_returns_the_data_of_the_service(gateway: GrpcChatGateway, chat: Chat) -> None:
    user, other = new_user(), new_user()
    group = await chat.group(user, other, name="a group")
    for number in range(2):
        await save(gateway, group, other, f"m{number}")
    info = await gateway.group_info(group)
    assert (info.group_id, info.name, info.owner_id, info.status, info.member_count) == (group, "a group", user, 1, 2)
    members = await gateway.group_members(group, 2, 1)
    assert ([member.user_id for member in members.items], members.total) == ([other], 2)
    assert [message.content for message in await gateway.offline_messages(user, 0)] == ["x", "x"]
    for number in range(3):
        await chat.notify(user, f"title {number}")
    found = await gateway.notifications(user, 0, 1, 2)
    assert ([one.title for one in found.items], found.total, found.unread_count) == (["title 2", "title 1"], 3, 3)
    assert await gateway.mark_notifications_read(user, [found.items[0].notification_id, "none"]) == 1
    assert await gateway.unread_notifications(user) == 2
    assert await gateway.mark_all_notifications_read(user) == 2
    assert [one.is_read for one in (await gateway.notifications(user, -1, 1, 20)).items] == [1, 1, 1]
    assert await gateway.mark_read(user, group, f"m0-{other}") == f"m0-{other}"
    [cursor] = await gateway.user_cursors(user, [group])
    assert (cursor.message_id, cursor.unread_count) == (f"m0-{other}", 1)
    [cursor] = await gateway.group_cursors(group, [user, other])
    assert (cursor.user_id, cursor.message_id) == (user, f"m0-{other}")


async def test_long_stored_texts_lock_nobody_out() -> None:
    """A page of long texts was over gRPC's 4 MB: that group's history, or all groups of a user, was 429 for ever."""
    asked: list[int] = []

    class LongTexts(chat_pb2_grpc.ChatServiceServicer):
        async def GetMessageHistory(self, request: Any, context: Any) -> pb.GetMessageHistoryResp:  # noqa: N802
            asked.append(request.limit)
            text = "x" * int(request.group_id)
            messages = [pb.Message(message_id=f"m{number}", content=text) for number in range(request.limit)]
            return pb.GetMessageHistoryResp(messages=messages, has_more=True)

        async def GetUserGroups(self, request: Any, context: Any) -> pb.GetUserGroupsResp:  # noqa: N802
            text = "x" * 65_535
            groups = [pb.UserGroupInfo(group_id=f"g{number}", last_message=text) for number in range(100)]
            return pb.GetUserGroupsResp(groups=groups if request.page == 1 else [], total=100)

    server = grpc.aio.server()
    chat_pb2_grpc.add_ChatServiceServicer_to_server(LongTexts(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{port}", rpc_seconds=LIMIT))
    assert len((await gateway.message_history("65535", "", 100)).messages) == 100
    assert len(await all_user_group_ids(gateway, 1)) == 100
    asked.clear()
    found = await gateway.message_history(str(1024 * 1024), "", 100)  # longer than any text of MySQL's
    assert (asked, len(found.messages), found.has_more) == ([100, 25, 6], 6, True)
    with pytest.raises(ChatServiceError) as refused:
        await gateway.message_history(str(17 * 1024 * 1024), "", 2)
    assert (refused.value.code, refused.value.retry_after) == (500, None)
    await gateway.close()
    await server.stop(None)


async def test_unavailable_service_is_503_and_names_the_address() -> None:
    target = f"127.0.0.1:{free_port()}"
    gateway = GrpcChatGateway(ChatConf(rpc_target=target, rpc_seconds=1.0))
    with pytest.raises(ChatServiceError, match=target) as refused:
        await save(gateway, "g", 1)
    assert refused.value.code == 503
    assert target in await gateway.state()
    await gateway.close()


async def test_service_without_the_method_is_501() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")  # accepts connections, has no method
    await server.start()
    gateway = GrpcChatGateway(ChatConf(rpc_target=f"127.0.0.1:{port}", rpc_seconds=LIMIT))
    with pytest.raises(ChatServiceError) as refused:
        await save(gateway, "g", 1)
    assert refused.value.code == 501
    await gateway.close()
    await server.stop(None)


class Listing:
    """A chat service whose listing changes between pages."""

    def __init__(self, *readings: Sequence[Sequence[str]], total: int | None = None) -> None:
        totals = [sum(map(len, reading)) if total is None else total for reading in readings]
        self._pages = [(page, told) for reading, told in zip(readings, totals, strict=True) for page in reading]

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        ids, total = self._pages.pop(0)
        return Page([_group(group_id) for group_id in ids], total)


def _group(group_id: str) -> Group:
    return Group(group_id, 0, "", 1, 1, 1, 1, 0, 1, 0, "", 0, "", "")


async def _ids_of(listing: Listing) -> frozenset[str]:
    return await all_user_group_ids(listing, 1)  # type: ignore[arg-type]  # nothing but the groups is asked for


HUNDRED = [f"g{number}" for number in range(100)]


async def test_all_pages_are_read() -> None:
    assert len(await _ids_of(Listing([HUNDRED, ["a", "b"]]))) == 102
    assert await _ids_of(Listing([[]])) == frozenset()


async def test_inconsistent_pages_are_read_again() -> None:
    moved = [HUNDRED, ["g99", "a"]]  # a group was removed from the first page while the second was read
    assert len(await _ids_of(Listing(moved, [HUNDRED, ["a"]]))) == 101


class Leaving:
    """A chat service whose user leaves the first of 102 groups after the first page was read."""

    def __init__(self) -> None:
        self.groups = [*HUNDRED, "a", "b"]

    async def user_groups(self, user_id: int, page: int, page_size: int) -> Page[Group]:
        shown = self.groups[(page - 1) * page_size : page * page_size]
        answer = Page([_group(group_id) for group_id in shown], len(self.groups))
        if len(self.groups) == 102:
            self.groups = self.groups[1:]
        return answer


async def test_group_left_between_pages_hides_no_other() -> None:
    """The second page began one group later, and the total agreed with the number of listed groups."""
    listing = Leaving()
    assert await all_user_group_ids(listing, 1) == set(listing.groups)  # type: ignore[arg-type]  # as above


async def test_listing_that_stays_inconsistent_is_503() -> None:
    with pytest.raises(ChatServiceError) as refused:
        await _ids_of(Listing(*([["a", name, name]] for name in "bcdef")))
    assert refused.value.code == 503


@pytest.mark.parametrize("total", [0, 1, 5, 2**31 - 1])
async def test_permanently_wrong_total_costs_one_more_reading(total: int) -> None:
    assert await _ids_of(Listing([["a", "b"]], [["a", "b"]], total=total)) == {"a", "b"}
    assert len(await _ids_of(Listing(*[[HUNDRED, ["a"]]] * 2, total=total))) == 101
    assert len(await _ids_of(Listing(*[[HUNDRED, []]] * 2, total=total))) == 100


async def test_repeated_page_ends_the_listing() -> None:
    assert len(await _ids_of(Listing(*[[HUNDRED, HUNDRED]] * 2, total=7))) == 100


async def test_group_missing_once_is_found_by_next_reading() -> None:
    readings = Listing([["a"]], [["a", "b"]], [["a", "b"]], total=3)
    assert await _ids_of(readings) == {"a", "b"}


def _certificate() -> tuple[bytes, bytes]:
    """Return a key and a self-signed certificate for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a chat service")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, certificate.public_bytes(Encoding.PEM)


async def test_tls_connects_to_a_trusted_certificate(tmp_path: Path) -> None:
    private, certificate = _certificate()
    trusted, other = tmp_path / "trusted.pem", tmp_path / "other.pem"
    trusted.write_bytes(certificate)
    other.write_bytes(_certificate()[1])
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, certificate)]))
    await server.start()
    one, several = f"127.0.0.1:{port}", f"127.0.0.1:{port}, 127.0.0.1:{free_port()}"
    named = f"localhost:{port}"
    for target, file, code in (
        (one, trusted, 501), (several, trusted, 501), (named, trusted, 501), (one, other, 503), (named, other, 503),
    ):  # fmt: skip
        conf = ChatConf(rpc_target=target, rpc_tls_ca=str(file), rpc_seconds=LIMIT)
        gateway = GrpcChatGateway(conf)
        with pytest.raises(ChatServiceError) as refused:
            await save(gateway, "g", 1)
        assert refused.value.code == code
        await gateway.close()
    await server.stop(None)


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), (b"nothing", "no certificate")])
def test_unusable_certificates_are_refused_by_name(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """Check it where the channel is made: the other processes of a deployment may lack the file."""
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ImproperlyConfigured, match=rf"^CHATWS_RPC_TLS_CA: .*{problem}"):
        GrpcChatGateway(ChatConf(rpc_target="127.0.0.1:1", rpc_tls_ca=str(tmp_path / "ca.pem")))


async def test_reference_service_reports_health_and_methods(stack: Stack) -> None:
    async with grpc.aio.insecure_channel(stack.rpc_target) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for service in ("", "chat.ChatService"):
            answer = await check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        calls = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        listed = [answer async for answer in calls]
        assert "chat.ChatService" in {service.name for service in listed[0].list_services_response.service}
