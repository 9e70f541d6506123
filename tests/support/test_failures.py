"""Check which processes of a shared stack keep running after a test."""

import os
import sys
from pathlib import Path

from tests.support.failures import end_extra
from tests.support.stack import Process

WAITS = [sys.executable, "-c", "import threading; threading.Event().wait()"]


def test_only_replacements_of_ended_processes_stay(tmp_path: Path) -> None:
    def started(name: str) -> Process:
        return Process(name, WAITS, os.environ, tmp_path / f"{name}.log", forks=False)

    rpc, gateway = started("rpc-0"), started("gateway-1")
    before = [rpc, gateway]
    rpc.kill()
    another, second, more = started("rpc-2"), started("rpc-3"), started("gateway-4")
    end_extra(before, [*before, another, second, more])
    assert [process.running for process in (gateway, another, second, more)] == [True, True, False, False]
    for process in (gateway, another):
        process.kill()
