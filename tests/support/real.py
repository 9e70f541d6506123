"""Find the Go platform that runs on this machine: `CHATWS_TEST_PLATFORM=ETCD_HOST:PORT,REDIS_PORT`.

Its services are registered in that etcd as `chat.rpc` and `user.rpc`. They use the Redis at that port, which the tests
start. The chat service creates its consumer groups at start, so restart it after Redis.
"""

import os
import subprocess
import time
from dataclasses import dataclass

from tools.etcd import find

REAL = os.environ.get("CHATWS_TEST_PLATFORM", "")
LOOK_AGAIN_SECONDS = 1.0


@dataclass
class Real:
    """The platform's addresses."""

    etcd: str
    redis_port: int
    _found: str = ""
    _looked_at: float = 0.0

    def chat_service(self) -> str:
        """Return the chat service's instances as a gRPC target, at most a second old."""
        if time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
            programs = find()
            assert programs is not None, "`make etcd` sees to one"
            command = [programs[1], "--endpoints", self.etcd, "get", "--prefix", "chat.rpc/", "--print-value-only"]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"})
            self._found = ",".join(done.stdout.split()) or self._found
            self._looked_at = time.monotonic()
        return f"ipv4:{self._found}"


def real() -> Real:
    """Return the platform that the environment names."""
    etcd, _, port = REAL.partition(",")
    assert port.isdigit(), f"CHATWS_TEST_PLATFORM: not ETCD_HOST:PORT,REDIS_PORT (it is {REAL!r})"
    return Real(etcd, int(port))
