"""`python -m config.lock`: do the locks hold what pyproject.toml asks for? `--write` compiles them again.

Checked by names and versions: a new wheel of a pinned release adds hashes and changes nothing.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from config.env import BASE_DIR

COMMON = ["--universal", "--generate-hashes", "--python-version", "3.11", "--no-header", "--quiet"]
RUN, DEV = "requirements.txt", "requirements-dev.txt"
ARGUMENTS = {RUN: ["pyproject.toml"], DEV: ["--group", "dev", "pyproject.toml", "-c", RUN]}
PIN = re.compile(r"^([a-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def compile_lock(name: str, output: Path) -> None:
    """Resolve with the pins that stand in ``output``, if any, and write the result there."""
    uv = str(Path(sys.executable).with_name("uv"))
    done = subprocess.run([uv, "pip", "compile", *COMMON, *ARGUMENTS[name], "-o", str(output)], cwd=BASE_DIR)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"{name} can't be compiled from pyproject.toml")


def pins(path: Path) -> dict[str, str]:
    """Name to version of a lock."""
    return dict(PIN.findall(path.read_text()))


def main() -> None:
    """Check, or write."""
    parser = argparse.ArgumentParser(prog="python -m config.lock", description="Check or compile the locks.")
    parser.add_argument("--write", action="store_true", help="compile the locks again instead of checking them")
    write = parser.parse_args().write
    for name in ARGUMENTS:
        locked = BASE_DIR / name
        if write:
            compile_lock(name, locked)
            continue
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / name
            fresh.write_text(locked.read_text())
            compile_lock(name, fresh)
            differing = sorted(dict(pins(fresh).items() ^ pins(locked).items()))
        if differing:
            sys.exit(f"{name} is not what pyproject.toml asks for ({', '.join(differing)}); run `make lock`")


if __name__ == "__main__":
    main()
