"""`python -m tools.lock` checks that the locks satisfy pyproject.toml; `--write` compiles them again.

It compares names and versions without a network: a new wheel of a pinned release only adds hashes.
"""

import argparse
import re
import subprocess
import sys
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config.env import BASE_DIR

RUN, TRACING, DEV = "requirements.txt", "requirements-tracing.txt", "requirements-dev.txt"
UV = "requirements-uv.txt"
"""The lock of the installer itself, which is installed first."""
DJANGO_60 = "requirements-django60.txt"
"""What is installed over the development lock to test with Django 6.0 (`tools/matrix.py`)."""
COMMON = ["--universal", "--generate-hashes", "--no-header", "--quiet"]
OLDEST = ["--python-version", "3.11"]
ARGUMENTS = {
    RUN: [*OLDEST, "pyproject.toml", "-c", "tools/long-term.txt"],
    TRACING: [*OLDEST, "--extra", "tracing", "pyproject.toml", "-c", RUN],
    DEV: [*OLDEST, "--group", "dev", "pyproject.toml", "-c", TRACING],
    UV: [*OLDEST, "--group", "pyproject.toml:install", "-c", DEV],
    DJANGO_60: ["--python-version", "3.12", "--group", "pyproject.toml:django60"],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock: several if they differ by platform."""
    found: dict[str, set[str]] = {}
    for package, version in PIN.findall((BASE_DIR / name).read_text()):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


def problems() -> list[str]:
    """Return the requirements that a lock does not satisfy, and the packages on which the locks differ."""
    project = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())
    asked = project["project"]["dependencies"]
    installer = project["dependency-groups"]["install"]
    development = [*installer, *(line for line in project["dependency-groups"]["dev"] if isinstance(line, str))]
    more = {TRACING: project["project"]["optional-dependencies"]["tracing"], DEV: development}
    found = _missing(asked, pins(RUN), RUN) + _missing(installer, pins(UV), UV)
    found += _missing(project["dependency-groups"]["django60"], pins(DJANGO_60), DJANGO_60)
    for lock, extra in more.items():
        found += _missing([*asked, *extra], pins(lock), lock)
        found += [f"{lock}: {name} differs from {RUN}" for name in _differing(pins(RUN), pins(lock))]
    found += [f"{DEV}: {name} differs from {TRACING}" for name in _differing(pins(TRACING), pins(DEV))]
    found += [f"{DEV}: {name} differs from {UV}" for name in _differing(pins(UV), pins(DEV))]
    return found


def _differing(lock: dict[str, set[str]], larger: dict[str, set[str]]) -> list[str]:
    return [name for name, versions in lock.items() if larger.get(name) != versions]


def _missing(asked: list[str], locked: dict[str, set[str]], lock: str) -> list[str]:
    found = []
    for requirement in map(Requirement, asked):
        versions = locked.get(canonicalize_name(requirement.name), set())
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            found.append(f"{lock}: {requirement} is asked for, {' and '.join(versions) or 'nothing'} is locked")
    return found


def main() -> None:
    """Check the locks, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description="Check or compile the locks.")
    parser.add_argument("--write", action="store_true", help="compile the locks again instead of checking them")
    if parser.parse_args().write:
        for name, arguments in ARGUMENTS.items():
            command = [sys.executable, "-m", "uv", "pip", "compile", *COMMON, *arguments, "-o", name]
            subprocess.run(command, cwd=BASE_DIR, check=True)
    elif found := problems():
        sys.exit("\n".join([*found, "run `make lock`"]))


if __name__ == "__main__":
    main()
