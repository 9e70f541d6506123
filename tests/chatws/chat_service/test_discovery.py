"""Check discovery with a real etcd: while one instance lives, calls succeed as others register and withdraw."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.core.exceptions import ImproperlyConfigured

from chatws.chat_service import discovery as discovery
from chatws.chat_service.channel import Channel
from chatws.chat_service.grpc import GrpcChatGateway
from chatws.chat_service.port import ChatServiceError
from chatws.conf import ChatConf
from tests.support.etcd import Etcd
from tests.support.instance import Instance
from tests.support.tls import make_certificate
from tests.support.waiting import LIMIT, until

KEY = "chat.rpc"


@pytest.fixture(scope="module")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    etcd = Etcd(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    yield etcd
    etcd.stop()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Callable[..., Etcd]]:
    """Start clusters for one test."""
    started: list[Etcd] = []

    def start(members: int = 1, **options: Any) -> Etcd:
        started.append(Etcd(tmp_path / f"etcd{len(started)}", members, **options))
        started[-1].start()
        return started[-1]

    yield start
    for etcd in started:
        etcd.stop()


@pytest.fixture
async def instances() -> AsyncIterator[tuple[Instance, Instance]]:
    both = await Instance(1).start(), await Instance(2).start()
    yield both
    for instance in both:
        instance.answers.set()
        await instance.stop()


@asynccontextmanager
async def gateway_of(target: str, seconds: float = LIMIT) -> AsyncIterator[GrpcChatGateway]:
    gateway = GrpcChatGateway(ChatConf(rpc_target=target, rpc_seconds=seconds))
    try:
        yield gateway
    finally:
        await gateway.close()


@asynccontextmanager
async def asking(gateway: GrpcChatGateway) -> AsyncIterator[list[int]]:
    """Call repeatedly and collect the answering instances; every call must succeed."""
    answered: list[int] = []

    async def ask() -> None:
        while True:
            answered.append(await gateway.unread_notifications(1))

    async with asyncio.TaskGroup() as tasks:  # a failed call ends the test with its error
        task = tasks.create_task(ask())
        yield answered
        task.cancel()


async def until_answered_by(answered: list[int], *numbers: int) -> None:
    """Return once only these instances answered the next calls."""
    del answered[:]
    while True:
        await until(lambda: len(answered) >= 20, what="20 answers")
        seen = set(answered[-10:])
        if seen == set(numbers):
            return
        del answered[:]


async def register(etcd: Etcd, key: str, instance: Instance) -> Any:
    return await asyncio.to_thread(etcd.register, key, instance.address)


async def test_instances_register_and_withdraw_without_errors(
    shared_etcd: Etcd, instances: tuple[Instance, Instance]
) -> None:
    one, two = instances
    first = await register(shared_etcd, f"{KEY}.come", one)
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{KEY}.come") as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1)
        await register(shared_etcd, f"{KEY}.come", two)
        await until_answered_by(answered, 1, 2)
        assert await gateway.state() == "ok"
        assert set(gateway.instances) == {one.address, two.address}
        await asyncio.to_thread(first.withdraw)
        await until_answered_by(answered, 2)
        await one.stop()
        await until_answered_by(answered, 2)


async def test_running_call_finishes_on_a_withdrawn_instance(
    shared_etcd: Etcd, instances: tuple[Instance, Instance]
) -> None:
    one, two = instances
    first = await register(shared_etcd, f"{KEY}.moves", one)
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{KEY}.moves") as gateway:
        one.answers.clear()
        running = asyncio.create_task(gateway.unread_notifications(1))
        await until(lambda: one.asked == 1, what="the call has arrived")
        await register(shared_etcd, f"{KEY}.moves", two)
        await asyncio.to_thread(first.withdraw)
        await until(lambda: gateway.instances == (two.address,), what="only the second is known")
        assert await gateway.unread_notifications(1) == 2
        one.answers.set()
        assert await running == 1


async def test_killed_instance_fails_no_call_and_expires(
    shared_etcd: Etcd, instances: tuple[Instance, Instance]
) -> None:
    one, two = instances
    first = await register(shared_etcd, f"{KEY}.killed", one)
    await register(shared_etcd, f"{KEY}.killed", two)
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{KEY}.killed") as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1, 2)
        first.lose()
        await one.stop(0)
        await until_answered_by(answered, 2)
        await until(lambda: gateway.instances == (two.address,), what="the lease has run out")


async def test_another_instance_answers_a_returned_call(
    instances: tuple[Instance, Instance],
) -> None:
    one, two = instances
    one.takes_back = True
    async with gateway_of(f"{one.address},{two.address}") as gateway, asking(gateway) as answered:
        await until(lambda: one.asked >= 2, what="calls have arrived")
        await until_answered_by(answered, 2)


async def test_last_known_instances_serve_while_etcd_is_unavailable(
    own_etcd: Callable[..., Etcd], instances: tuple[Instance, Instance]
) -> None:
    one, two = instances
    etcd = own_etcd()
    await register(etcd, KEY, one)
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}") as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1)
        etcd.members[0].kill()
        await until_answered_by(answered, 1)
        await asyncio.to_thread(etcd.start)
        await asyncio.to_thread(etcd.compact)
        await register(etcd, KEY, two)
        await until(lambda: two.address in gateway.instances, what="the second is known")
        await until(lambda: 2 in answered, what="it is called")


async def test_last_known_instance_serves_after_all_have_withdrawn(
    shared_etcd: Etcd, instances: tuple[Instance, Instance]
) -> None:
    one, two = instances
    registered = await register(shared_etcd, f"{KEY}.lost", one)
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{KEY}.lost") as gateway:
        assert await gateway.unread_notifications(1) == 1
        await asyncio.to_thread(registered.withdraw)
        await register(shared_etcd, f"{KEY}.lost", two)
        await until(lambda: gateway.instances == (two.address,), what="the second is known")
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{KEY}.other") as gateway:
        registered = await register(shared_etcd, f"{KEY}.other", one)
        assert await gateway.unread_notifications(1) == 1
        await asyncio.to_thread(registered.withdraw)
        await asyncio.to_thread(shared_etcd.ctl, "put", f"{KEY}.other/1", "no address")
        assert await gateway.unread_notifications(1) == 1


async def test_discovery_survives_dead_and_hanging_etcd_members(
    own_etcd: Callable[..., Etcd], instances: tuple[Instance, Instance], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = instances
    etcd = own_etcd(3)
    await register(etcd, KEY, one)
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}") as gateway, asking(gateway) as answered:
        await until_answered_by(answered, 1)
        etcd.members[0].kill()  # the member that is watched
        await register(etcd, KEY, two)
        await until_answered_by(answered, 1, 2)
        await asyncio.to_thread(etcd.members[0].start)
        await asyncio.to_thread(etcd.wait)
        etcd.members[1].pause()
        try:
            await until(lambda: f"etcd at {etcd.members[1].endpoint}" in caplog.text, what="its silence was noticed")
            await asyncio.to_thread(etcd.ctl, "put", f"{KEY}/third", "127.0.0.1:9")
            await until(lambda: "127.0.0.1:9" in gateway.instances, what="another member is followed")
        finally:
            etcd.members[1].go_on()


async def test_watch_from_a_compacted_revision_reads_again(
    shared_etcd: Etcd, instances: tuple[Instance, Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = instances
    key = f"{KEY}.compacted"
    await register(shared_etcd, key, one)
    await asyncio.to_thread(shared_etcd.compact)
    reads: list[int] = []
    read = discovery.Instances._read

    async def stale(self: discovery.Instances, channel: Any, metadata: Any) -> int:
        reads.append(await read(self, channel, metadata))
        return 1 if len(reads) == 1 else reads[-1]

    monkeypatch.setattr(discovery.Instances, "_read", stale)
    async with gateway_of(f"etcd://{shared_etcd.endpoints}/{key}") as gateway:
        assert await gateway.unread_notifications(1) == 1
        await until(lambda: len(reads) == 2, what="it was read again")
        await register(shared_etcd, key, two)
        await until(lambda: len(gateway.instances) == 2, what="the second is known")


async def test_etcd_login_with_user_and_password(
    own_etcd: Callable[..., Etcd], instances: tuple[Instance, Instance]
) -> None:
    one, _ = instances
    etcd = own_etcd()
    for command in (["user", "add", "root:s%3A/@&?"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
        await asyncio.to_thread(etcd.ctl, *command)
    etcd.control = ["--user", "root:s%3A/@&?"]
    await register(etcd, KEY, one)
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}?user=root&password=s%253A%2F%40%26%3F") as gateway:
        assert await gateway.unread_notifications(1) == 1
        assert await gateway.state() == "ok"
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}?user=root&password=wrong", 1.0) as gateway:
        with pytest.raises(ChatServiceError, match="authentication failed") as refused:
            await gateway.unread_notifications(1)
        assert "wrong" not in str(refused.value)


async def test_etcd_over_tls(
    own_etcd: Callable[..., Etcd], instances: tuple[Instance, Instance], tmp_path: Path
) -> None:
    one, _ = instances
    key, certificate = make_certificate(tmp_path)
    etcd = own_etcd(
        options=["--cert-file", str(certificate), "--key-file", str(key)], control=["--cacert", str(certificate)]
    )
    await register(etcd, KEY, one)
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}?tls_ca={certificate}") as gateway:
        assert await gateway.unread_notifications(1) == 1
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}?tls=1", 1.0) as gateway:
        with pytest.raises(ChatServiceError, match=KEY):
            await gateway.unread_notifications(1)


async def test_tls_checks_instances_by_the_first_name(shared_etcd: Etcd, tmp_path: Path) -> None:
    private, certificate = make_certificate(tmp_path)
    credentials = grpc.ssl_server_credentials([(private.read_bytes(), certificate.read_bytes())])
    instances = [await Instance(number, credentials).start() for number in (1, 2)]
    for instance in instances:
        await register(shared_etcd, f"{KEY}.tls", instance)
    conf = ChatConf(
        rpc_target=f"etcd://{shared_etcd.endpoints}/{KEY}.tls", rpc_tls_ca=str(certificate), rpc_seconds=LIMIT
    )
    gateway = GrpcChatGateway(conf)
    try:
        async with asking(gateway) as answered:
            await until_answered_by(answered, 1, 2)
    finally:
        await gateway.close()
        for instance in instances:
            await instance.stop()


async def test_expired_etcd_token_is_renewed(
    own_etcd: Callable[..., Etcd], instances: tuple[Instance, Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd = own_etcd()
    for command in (["user", "add", "root:secret"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
        await asyncio.to_thread(etcd.ctl, *command)
    etcd.control = ["--user", "root:secret"]
    await register(etcd, KEY, instances[0])
    authenticate = discovery.Instances._authenticate
    tokens: list[str] = []

    async def old_at_first(self: discovery.Instances, channel: grpc.aio.Channel) -> list[tuple[str, str]]:
        [(name, token)] = await authenticate(self, channel)
        tokens.append(token)
        return [(name, token if len(tokens) > 1 else f"{token}0")]  # etcd knows neither

    monkeypatch.setattr(discovery.Instances, "_authenticate", old_at_first)
    async with gateway_of(f"etcd://{etcd.endpoints}/{KEY}?user=root&password=secret") as gateway:
        assert await gateway.unread_notifications(1) == 1
    assert len(tokens) == 2


async def test_call_waits_for_an_instance_or_names_the_address(
    shared_etcd: Etcd, instances: tuple[Instance, Instance]
) -> None:
    address = f"etcd://{shared_etcd.endpoints}/{KEY}.nobody"
    async with gateway_of(address, 0.5) as gateway:
        with pytest.raises(ChatServiceError, match=address) as refused:
            await gateway.unread_notifications(1)
        assert (refused.value.code, refused.value.was_asked) == (503, False)
        assert address in await gateway.state()
    async with gateway_of(address) as gateway:
        waiting = asyncio.create_task(gateway.unread_notifications(1))
        await register(shared_etcd, f"{KEY}.nobody", instances[0])
        assert await waiting == 1


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("etcd://127.0.0.1:2379", "no key"),
        ("etcd://127.0.0.1:2379/", "no key"),
        ("etcd:///chat.rpc", "not etcd://"),
        ("etcd://127.0.0.1/chat.rpc", "'127.0.0.1' is not host:port"),
        ("etcd://127.0.0.1:2379,localhost:x/chat.rpc", "'localhost:x' is not host:port"),
        ("etcd://127.0.0.1:70000/chat.rpc", "is not host:port"),
        ("etcd://root:secret@127.0.0.1:2379/chat.rpc", "user and password are written"),
        ("etcd://127.0.0.1:2379/chat.rpc?usr=root", "parameter 1 after the . is none of user"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root&password=very&secret", "parameter 3 .* & is %26"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root", "must be given together"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root&password=very&tls=secret", "tls is 0 or 1"),
        ("etcd://127.0.0.1:2379/chat.rpc?tls_ca=/no/such", "tls_ca: no such file"),
        ("etcd://127.0.0.1:2379/chat.rpc?tls_key=/no/such", "tls_cert and tls_key"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root&password=very#secret", "%23"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root&password=very+secret", "%2B"),
        ("etcd://127.0.0.1:2379/chat.rpc?user=root&password=very%secret", "%25"),
        ("etcd://[secret/chat.rpc", "not etcd://"),
        ("http://root:secret@127.0.0.1:2379/chat.rpc", "nor etcd://"),
        ("etc://127.0.0.1:2379/chat.rpc", "nor etcd://"),
    ],
)
def test_bad_etcd_address_error_hides_the_password(address: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem) as refused:
        Channel("CHATWS_RPC_TARGET", address)
    assert str(refused.value).startswith("CHATWS_RPC_TARGET")
    assert "secret" not in str(refused.value)
