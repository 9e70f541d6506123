"""`python3 tools/install.py LOCK`: installs a hashed lock into `.venv`, by uv, or by pip where uv isn't available.

Runs on the Python that the virtual environment is made with, before anything is installed: standard library only.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
UV = PYTHON.with_name("uv.exe" if os.name == "nt" else "uv")
UV_LOCK = "requirements-uv.txt"
HASHED = ["install", "--quiet", "--require-hashes"]


def main() -> None:
    """Create the virtual environment if there is none, then install; exit with the installer's status."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {'.'.join(map(str, OLDEST))} or newer is needed; this is {sys.version}")
    [lock] = sys.argv[1:]
    print(f"installing {lock} into {VENV.name}", flush=True)
    if not PYTHON.exists():
        _make_environment()
    if not _has_locked_uv() and not _succeeds(_pip(*HASHED, "--only-binary", ":all:", "--requirement", UV_LOCK)):
        print(f"uv has no wheel for this machine, or {UV_LOCK} couldn't be fetched: pip installs", flush=True)
    # Each installer has its own configuration of indexes, so pip may reach one although uv does not.
    if UV.exists() and _succeeds([str(UV), "pip", *HASHED, "--python", str(PYTHON), "--requirement", lock]):
        return
    sys.exit(subprocess.run(_pip(*HASHED, "--requirement", lock), cwd=ROOT).returncode)


def _make_environment() -> None:
    """Create the environment without pip: unpacking pip takes longer than uv takes to install everything."""
    done = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    if done.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(f"{sys.executable} -m venv failed; on Debian and Ubuntu the package python3-venv brings it")


def _pip(*arguments: str) -> list[str]:
    """Return the command of a pip that installs into the environment: this Python's, else the one bundled with venv."""
    options = ["--disable-pip-version-check", *arguments]
    if _succeeds([sys.executable, "-m", "pip", "--python", str(PYTHON), "--version"], quiet=True):
        return [sys.executable, "-m", "pip", "--python", str(PYTHON), *options]
    _succeeds([str(PYTHON), "-m", "ensurepip"], quiet=True)
    return [str(PYTHON), "-m", "pip", *options]


def _has_locked_uv() -> bool:
    """Return whether the environment holds the uv version that the lock names."""
    wanted = next(line.split()[0] for line in (ROOT / UV_LOCK).read_text().splitlines() if line.startswith("uv=="))
    if not UV.exists():
        return False
    done = subprocess.run([str(UV), "--version"], capture_output=True, text=True)
    return done.stdout.split()[1:2] == [wanted.removeprefix("uv==")]


def _succeeds(command: list[str], *, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, stdout=output, stderr=output).returncode == 0


if __name__ == "__main__":
    main()
