"""No two tests get one port."""

import subprocess
import sys

from config.env import BASE_DIR

ALL = "from tests.support import redis; redis.PORTS = redis.PORTS[:40]; print(*[redis.free_port() for _ in range(15)])"


def test_port_is_not_given_to_another_process() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", ALL + "; input()"], cwd=BASE_DIR, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    given: list[str] = []
    for child in children:
        assert child.stdout is not None
        given += child.stdout.readline().split()
    for child in children:
        child.communicate("\n", timeout=60)
    assert len(given) == len(set(given)) == 30
