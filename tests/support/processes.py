"""Starts what tests and proofs run beside themselves."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from config.env import BASE_DIR
from tests.support.zygote import Forked, zygote

Handle = Forked | subprocess.Popen[bytes]


class ByZygote:
    """What the zygote does; the tests switch both on, what measures neither."""

    starts = False
    """Whether it starts every process, so that all end with the test process, also where that is killed."""
    forks = False
    """Whether Python processes of this release are forked with all they import, unless a test wants the command."""


def start(
    command: list[str], log: Path, env: Mapping[str, str], cwd: Path = BASE_DIR, forks: bool | None = None
) -> Handle:
    """Start a command with exactly this environment; what it prints is appended to ``log``."""
    if (ByZygote.forks if forks is None else forks) and command[0] == sys.executable and cwd == BASE_DIR:
        return zygote().fork(command[1:], env, log)
    if ByZygote.starts:
        return zygote().execute(command, env, log, cwd)
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
