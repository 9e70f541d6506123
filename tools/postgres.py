"""`python -m tools.postgres`: sees to a PostgreSQL for the tests that need one and prints where it is.

One that is there, else Debian's package where we are root. The tests start a server of their own.
"""

import os
import shutil
import sys
from pathlib import Path

from tools import debian

VARIABLE = "CHATWS_POSTGRES_BIN"


def find() -> Path | None:
    """The folder of PostgreSQL's programs; `CHATWS_POSTGRES_BIN` comes first."""
    named = os.environ.get(VARIABLE)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [Path(named)] if named else [*debian, *([Path(on_path).parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def main() -> None:
    """Find one, or get one."""
    if find() is None and debian.can_install():
        debian.install("postgresql")
    if find() is None:
        sys.exit(f"no PostgreSQL was found and none could be installed; install one, or name its folder in {VARIABLE}")
    print(f"PostgreSQL for the tests: {find()}")


if __name__ == "__main__":
    main()
