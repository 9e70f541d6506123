"""Install Debian packages that the tests need, if run as root, without starting their services."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
"""The script that Debian runs before it starts a newly installed service."""


def can_install() -> bool:
    """Return whether this machine can install packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install packages; the caller checks whether that succeeded."""
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    run_quietly(["apt-get", "update", "-qq"])
    run_quietly(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])
    if is_ours:
        POLICY.unlink()


def run_quietly(command: list[str]) -> None:
    """Run a command that may fail, without showing its output."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, env=environment)
    if done.returncode != 0:
        print(f"{command[0]} {command[1]} … did not succeed, going on", file=sys.stderr)
