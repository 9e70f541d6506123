"""Check the gateway behind nginx with the configuration of `deploy/`; only addresses, ports and files differ."""

import asyncio
import re
import resource
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from config.env import BASE_DIR, Environment
from tests.contract.test_server import certificate
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.dns import Names
from tests.support.redis import free_port
from tests.support.stack import Gateway, Process, Stack
from tests.support.waiting import LIMIT, until, wait_until
from tools.nginx import find

__all__ = ["certificate"]  # a fixture
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
SOCKETS = 600
"""More than nginx serves by default: each is two connections of 1,024."""


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HAS_IPV6 = _has_ipv6()
"""A container often has none; nginx then listens for IPv4 only."""
CONF = (BASE_DIR / "deploy/nginx/nginx.conf").read_text()


class Nginx(Process):
    """nginx before the port of a gateway, whose name is in ``names``, with TLS at ``port`` of both families."""

    def __init__(self, folder: Path, names: Names, upstream: int, key: Path, chain: Path) -> None:
        program = find()
        assert program, "no nginx: run `make nginx`"
        self.port = free_port()
        self.access_log = folder / "access.log"
        text = f"daemon off;\n{CONF}"
        for theirs, ours in {
            "gateway:8889": f"gateway.test:{upstream}", "admin:8889": f"admin.test:{upstream}",
            "resolver 127.0.0.11 valid=5s": f"resolver 127.0.0.1:{names.port} valid=1s",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "listen [::]:443 ssl": f"listen {'[::1]' if HAS_IPV6 else '127.0.0.2'}:{self.port} ssl",
            "/etc/nginx/certificates/chatws.crt": str(chain), "/etc/nginx/certificates/chatws.key": str(key),
            "/var/log/nginx/access.log": str(self.access_log), "/var/log/nginx/error.log": str(folder / "error.log"),
            "/run/nginx.pid": str(folder / "nginx.pid"), "worker_processes auto": "worker_processes 1",
            "    map ": "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in TEMPORARY) + "    map ",
        }.items():  # fmt: skip
            assert text.count(theirs) == 1, theirs
            text = text.replace(theirs, ours)
        (folder / "nginx.conf").write_text(text)
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        tried = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert tried.returncode == 0, tried.stderr
        super().__init__("nginx", command, {}, folder / "nginx.log")
        wait_until(self._listens, what="nginx listens")

    def _listens(self) -> bool:
        assert self.running, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def names() -> Iterator[Names]:
    with Names({"gateway.test": "127.0.0.1", "admin.test": "127.0.0.1"}) as names:
        yield names


@pytest.fixture
def proxied(
    stack: Stack, tmp_path: Path, certificate: tuple[Path, Path], names: Names
) -> Iterator[tuple[Nginx, Gateway]]:
    gateway = stack.start_gateway(
        CHATWS_TRUSTED_PROXIES="127.0.0.1", CHATWS_CONNECTIONS_PER_ADDRESS="3", CHATWS_BEHIND_TLS_PROXY="1"
    )
    nginx = Nginx(tmp_path, names, gateway.port, *certificate)
    try:
        yield nginx, gateway
    finally:
        nginx.stop(seconds=LIMIT)
        gateway.kill()


async def test_proxy_passes_sockets_and_pages_but_no_metrics(
    proxied: tuple[Nginx, Gateway],
    certificate: tuple[Path, Path],
    chat: Chat,
) -> None:
    nginx, _ = proxied
    tls = ssl.create_default_context(cafile=str(certificate[1]))
    one, two = new_user(), new_user()
    group = await chat.group(one, two)
    token = make_token(two)
    url = f"wss://localhost:{nginx.port}/ws"
    speaker = await connect(
        url, ssl=tls, origin=f"https://localhost:{nginx.port}",
        additional_headers={"Authorization": f"Bearer {make_token(one)}", "X-Forwarded-For": "192.0.2.9"},
    )  # fmt: skip
    listener = await connect(f"{url}?token={token}", ssl=tls)
    for client in (speaker, listener):
        await client.expect("auth_success")
    await speaker.ask("send_message", {"group_id": group, "msg_type": 1, "content": "through nginx"})
    assert (await listener.expect("new_message"))["data"]["content"] == "through nginx"
    third = await connect(url, ssl=tls)
    fourth = await connect(url, ssl=tls, additional_headers={"X-Forwarded-For": "192.0.2.10"})
    refused = (await fourth.expect("error"))["data"]
    assert refused["reason"] == "address", "the address is the one that nginx saw, not what the client said"
    async with httpx.AsyncClient(base_url=f"https://localhost:{nginx.port}", verify=tls, timeout=LIMIT) as http:
        assert (await http.get("/health")).text == "OK"
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/metrics")).status_code == 404
    for client in (speaker, listener, third, fourth):
        await client.close()
    await until(nginx.access_log.read_text, lambda log: log.count(" 101 ") >= 4, "each socket is in the log")
    assert token not in nginx.access_log.read_text()


@pytest.fixture
async def replaced(
    tmp_path: Path, certificate: tuple[Path, Path], names: Names
) -> AsyncIterator[tuple[Nginx, list[asyncio.StreamWriter]]]:
    """Serve two gateways without a chat at 127.0.0.1 and 127.0.0.2, that answer with their address or open a socket."""
    sockets: list[asyncio.StreamWriter] = []
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        here = writer.get_extra_info("sockname")[0].encode()
        if b"upgrade: websocket" in head.lower():
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            sockets.append(writer)
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(here), here))
            await writer.drain()
        writer.close()

    port = free_port()
    servers = [
        await asyncio.start_server(serve, address, port, backlog=SOCKETS) for address in ("127.0.0.1", "127.0.0.2")
    ]
    nginx = Nginx(tmp_path, names, port, *certificate)
    try:
        yield nginx, sockets
    finally:
        nginx.stop(seconds=LIMIT)
        for server in servers:
            server.close()
        for writer in accepted:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in accepted), return_exceptions=True)


async def test_proxy_follows_a_name_to_its_new_address(
    replaced: tuple[Nginx, list[asyncio.StreamWriter]], names: Names, certificate: tuple[Path, Path]
) -> None:
    nginx, _ = replaced
    tls = ssl.create_default_context(cafile=str(certificate[1]))
    async with httpx.AsyncClient(base_url=f"https://localhost:{nginx.port}", verify=tls, timeout=LIMIT) as http:
        assert (await http.get("/")).text == "127.0.0.1"
        names.addresses["gateway.test"] = "127.0.0.2"
        while (await http.get("/")).text != "127.0.0.2":  # the test's time limit ends it
            await asyncio.sleep(0.1)
        assert (await http.get("/admin/")).text == "127.0.0.1", "the admin is another process"
        assert (await http.get("/admin")).status_code == 301


async def test_proxy_serves_many_sockets_of_both_families(
    replaced: tuple[Nginx, list[asyncio.StreamWriter]], certificate: tuple[Path, Path]
) -> None:
    nginx, sockets = replaced
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 8_192), limit[1]))
    tls = ssl.create_default_context(cafile=str(certificate[1]))
    asking = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    clients = []
    try:
        for number in range(SOCKETS):
            host = "::1" if HAS_IPV6 and number % 2 else "127.0.0.1"
            reader, writer = await asyncio.open_connection(host, nginx.port, ssl=tls, server_hostname="localhost")
            clients.append(writer)
            writer.write(asking)
            assert (await reader.readline()).split()[1] == b"101", f"socket {number} was refused"
        assert len(sockets) == SOCKETS
    finally:
        for client in clients:
            client.transport.abort()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_nginx_has_room_for_every_socket() -> None:
    most = 2 * Environment().chatws_max_connections
    for limit in ("worker_connections", "worker_rlimit_nofile"):
        found = re.search(rf"^\s*{limit} (\d+);", CONF, re.MULTILINE)
        assert found
        assert int(found[1]) > most, f"{limit}: a socket is two connections"
