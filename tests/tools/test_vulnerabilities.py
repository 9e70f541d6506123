"""Check the audit of dependencies: a finding fails, and an unavailable source is not reported as clean."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from config.env import BASE_DIR

WEAKNESS = {
    "id": "PYSEC-0000-1", "summary": "", "details": "", "aliases": [],
    "affected": [{
        "package": {"name": "django", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
    }],
}  # fmt: skip


@pytest.fixture
def osv() -> Iterator[tuple[str, list[str]]]:
    """Run an OSV service on the loopback; yield its address and its vulnerable packages."""
    weak: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"vulns": [WEAKNESS]} if asked["package"]["name"] in weak else {}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query", weak
        server.shutdown()


def audit(*options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.vulnerabilities", *options]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_known_vulnerability_fails_and_is_named(osv: tuple[str, list[str]]) -> None:
    url, weak = osv
    status, said = audit("--osv-url", url)
    assert (status, " 0 known weaknesses" in said) == (0, True), said
    weak.append("django")
    status, said = audit("--osv-url", url)
    assert status == 1
    assert "PYSEC-0000-1, fixed in 99.0" in said


def test_unavailable_service_reports_that_nothing_was_audited() -> None:
    nowhere = ("--osv-url", "http://127.0.0.1:1/v1/query")
    status, said = audit(*nowhere)
    assert (status, "NOT AUDITED" in said) == (0, True)
    status, said = audit(*nowhere, "--require")
    assert (status, "NOT AUDITED" in said) == (1, True)
