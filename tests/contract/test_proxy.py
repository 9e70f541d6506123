"""Check the gateway behind nginx with the configuration of `deploy/`; only addresses, ports and files differ."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config.env import BASE_DIR
from tests.contract.test_server import certificate
from tests.support.chat import Chat, new_user
from tests.support.client import connect, make_token
from tests.support.redis import free_port
from tests.support.stack import Gateway, Process, Stack
from tests.support.waiting import LIMIT, until, wait_until
from tools.nginx import find

__all__ = ["certificate"]  # a fixture


class Nginx(Process):
    """nginx before a gateway, with TLS at ``port``."""

    def __init__(self, folder: Path, gateway: Gateway, key: Path, chain: Path) -> None:
        program = find()
        assert program, "no nginx: run `make nginx`"
        self.port = free_port()
        self.access_log = folder / "access.log"
        text = (BASE_DIR / "deploy/nginx/chatws.conf").read_text()
        for theirs, ours in {
            "gateway:8889": f"127.0.0.1:{gateway.port}", "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/nginx/certificates/chatws.crt": str(chain), "/etc/nginx/certificates/chatws.key": str(key),
            "/var/log/nginx/access.log": str(self.access_log),
        }.items():  # fmt: skip
            assert theirs in text, theirs
            text = text.replace(theirs, ours)
        (folder / "site.conf").write_text(text)
        (folder / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ include {folder}/site.conf; client_body_temp_path {folder}/b; "
            f"proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; "
            f"scgi_temp_path {folder}/s; }}\n"
        )
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
def proxied(stack: Stack, tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[tuple[Nginx, Gateway]]:
    gateway = stack.start_gateway(
        CHATWS_TRUSTED_PROXIES="127.0.0.1", CHATWS_CONNECTIONS_PER_ADDRESS="3", CHATWS_BEHIND_TLS_PROXY="1"
    )
    nginx = Nginx(tmp_path, gateway, *certificate)
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
