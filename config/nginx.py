"""`python -m config.nginx`: sees to an nginx for the test of `deploy/nginx` and prints where it is.

One that is there, else Debian's package where we are root; the tests start one of their own, on the loopback.
"""

import os
import shutil
import sys
from pathlib import Path

from config.chromium import run_quietly

POLICY = Path("/usr/sbin/policy-rc.d")
"""What Debian asks before it starts a service that was just installed."""


def find() -> str | None:
    """The program."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def main() -> None:
    """Find one, or get one, without its service."""
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        is_ours = not POLICY.exists()
        if is_ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        run_quietly(["apt-get", "update", "-qq"])
        run_quietly(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"])
        if is_ours:
            POLICY.unlink()
    if find() is None:
        sys.exit("no nginx was found and none could be installed; install one")
    print(f"nginx for the tests: {find()}")  # noqa: T201


if __name__ == "__main__":
    main()
