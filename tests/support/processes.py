"""Start the processes that tests and proofs need."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from config.env import BASE_DIR
from tests.support.zygote import Forked, zygote

Handle = Forked | subprocess.Popen[bytes]


class ByZygote:
    """Which starts go through the zygote: the tests enable both, measurements neither."""

    starts = False
    """Whether the zygote starts every process, so that all end with the test process, even if that is killed."""
    forks = False
    """Whether Python processes of this release are forked with their imports, unless a test needs the command line."""


def start(
    command: list[str], log: Path, env: Mapping[str, str], cwd: Path = BASE_DIR, forks: bool | None = None
) -> Handle:
    """Start a command with exactly this environment; its output is appended to ``log``."""
    if (ByZygote.forks if forks is None else forks) and command[0] == sys.executable and cwd == BASE_DIR:
        return zygote().fork(command[1:], env, log)
    if ByZygote.starts:
        return zygote().execute(command, env, log, cwd)
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
