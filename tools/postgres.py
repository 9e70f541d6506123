"""`python -m tools.postgres` installs PostgreSQL for the tests if it is missing, and prints its path.

It installs Debian's package, which needs root. The tests start their own server.
"""

import os
import shutil
import sys
from pathlib import Path

from tools import debian

VARIABLE = "CHATWS_POSTGRES_BIN"


def find() -> Path | None:
    """Return the folder of PostgreSQL's programs; `CHATWS_POSTGRES_BIN` takes precedence."""
    named = os.environ.get(VARIABLE)
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [Path(named)] if named else [*debian, *([Path(on_path).parent] if on_path else [])]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def main() -> None:
    """Find PostgreSQL, or install it."""
    if find() is None and debian.can_install():
        debian.install("postgresql")
    if find() is None:
        sys.exit(f"no PostgreSQL was found and none could be installed; install one, or name its folder in {VARIABLE}")
    print(f"PostgreSQL for the tests: {find()}")


if __name__ == "__main__":
    main()
