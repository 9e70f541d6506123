"""The Go platform itself, started elsewhere on this machine: `CHATWS_TEST_PLATFORM=ETCD_HOST:PORT,REDIS_PORT`.

Its services are found in that etcd, under `chat.rpc` and `user.rpc`, and use the Redis at that port of this machine,
where the tests start one; a chat service makes its consumer groups when it starts, so restart it after that.
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
    """Where it is."""

    etcd: str
    redis_port: int
    _found: str = ""
    _looked_at: float = 0.0

    def chat_service(self) -> str:
        """The chat service's instances as a gRPC target, as etcd had them a second ago or now."""
        if time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
            programs = find()
            assert programs is not None, "`make etcd` sees to one"
            command = [programs[1], "--endpoints", self.etcd, "get", "--prefix", "chat.rpc/", "--print-value-only"]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"})
            self._found = ",".join(done.stdout.split()) or self._found
            self._looked_at = time.monotonic()
        return f"ipv4:{self._found}"


def real() -> Real:
    """What the environment names."""
    etcd, _, port = REAL.partition(",")
    assert port.isdigit(), f"CHATWS_TEST_PLATFORM: not ETCD_HOST:PORT,REDIS_PORT (it is {REAL!r})"
    return Real(etcd, int(port))
