"""`python -m tools.matrix` runs the suite's fast part on each Python of this machine, with Django 5.2 and 6.0.

Without `--all`, each Python but this one gets the newest Django that it can run: the whole suite covers this one. The
table names a supported Python that this machine lacks.
"""

import argparse
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venvs"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DJANGOS = {"5.2": "", "6.0": "requirements-django60.txt"}
"""The lock that is installed over the development lock, which has Django 5.2."""
FAST = [
    "tests/realtime", "tests/chatws/client", "tests/chatws/events", "tests/chatws/membership", "tests/chatws/messaging",
    "tests/chatws/protocol", "tests/chatws/socket", "tests/contract/test_talk.py",
    "tests/simulation/test_worlds.py::test_same_seed_gives_the_same_world_on_two_pythons",
]  # fmt: skip
"""The units, one file of tests against the whole chat, and a simulated world that is the same on each Python."""
OPTIONS = ["-q", "-n", "2", "--dist", "loadfile"]
COUNTS = re.compile(r"(\d+) (passed|failed|errors?)\b")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Combination:
    """A Python and a Django that are supported together."""

    python: str
    django: str

    @property
    def name(self) -> str:
        """Return the name of its environment and of its log."""
        return f"python{self.python}-django{self.django}"


def combinations(pythons: tuple[str, ...], *, every: bool) -> list[Combination]:
    """Return what to test: ``every`` combination, or each other Python with its newest Django."""
    found = []
    for python in pythons:
        djangos = [django for django in DJANGOS if django == "5.2" or _number(python) >= (3, 12)]
        if every:
            found += [Combination(python, django) for django in djangos]
        elif python != HERE:
            found.append(Combination(python, djangos[-1]))
    return found


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@functools.cache
def interpreter(version: str) -> str | None:
    """Return the path of this machine's Python of a version: in PATH, or of pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    in_path = shutil.which(f"python{version}")
    candidates = [*([in_path] if in_path else []), *sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))]
    asked = "import sys, venv, ssl, sqlite3; print('%d.%d' % sys.version_info[:2])"
    for candidate in map(str, candidates):  # pyenv puts a command that only fails into PATH
        done = subprocess.run([candidate, "-c", asked], capture_output=True, text=True)
        if done.stdout.strip() == version:
            return candidate
    return None


def environment(combination: Combination) -> str:
    """Return the Python of a combination's virtual environment; make it if its locks changed."""
    folder = FOLDER / combination.name
    python = folder / "bin/python"
    locks = ["requirements-dev.txt", *filter(None, [DJANGOS[combination.django]])]
    content = "".join(hashlib.sha256((ROOT / lock).read_bytes()).hexdigest() for lock in locks)
    stamp = folder / "locks"
    if stamp.exists() and stamp.read_text() == content:
        return str(python)
    uv = [sys.executable, "-m", "uv"]
    base = interpreter(combination.python)
    subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", str(base), folder], cwd=ROOT, check=True)
    for lock in locks:
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", str(python), "--requirement", lock]
        subprocess.run([*uv, *install], cwd=ROOT, check=True)
    stamp.write_text(content)
    return str(python)


def test(combination: Combination, log: Path) -> tuple[bool, str]:
    """Run the fast part, with its output in ``log``; return whether it passed, and its counts."""
    try:
        python = environment(combination)
    except subprocess.CalledProcessError as error:
        log.write_text(f"{error}\n")
        return False, "its packages could not be installed"
    command = [python, "-m", "pytest", *OPTIONS, *FAST]
    with log.open("w") as output:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    lines = log.read_text().splitlines()
    last = next((line for line in reversed(lines) if COUNTS.search(line)), "")
    counts = ", ".join(f"{count} {what}" for count, what in COUNTS.findall(last))
    passed = done.returncode == 0 and "passed" in counts
    return passed, counts or f"exit status {done.returncode}"


def main() -> None:
    """Print a row for each combination; exit with 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every Python with every Django")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    print("| python | django | seconds | tests |\n| --- | --- | --: | --- |", flush=True)
    failed = []
    for combination in combinations(PYTHONS, every=given.all):
        row = f"| {combination.python} | {combination.django} |"
        if interpreter(combination.python) is None:
            print(f"{row} | not tested: this machine has no Python {combination.python} |", flush=True)
            continue
        log = FOLDER / f"{combination.name}.log"
        began = time.monotonic()
        passed, counts = test(combination, log)
        print(f"{row} {time.monotonic() - began:.0f} | {counts} |", flush=True)
        if not passed:
            failed.append(log)
    for log in failed:
        print("\n".join([f"\n{log.relative_to(ROOT)}:", *log.read_text().splitlines()[-80:]]), file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
