"""`python -m tools.pgbouncer` installs PgBouncer for its test if it is missing, and prints its path.

It installs Debian's package, which needs root. The test starts its own PgBouncer on the loopback.
"""

import os
import shutil
import sys

from tools import debian


def find() -> str | None:
    """Return the path of PgBouncer, or ``None``."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def main() -> None:
    """Find PgBouncer, or install it without its service."""
    if find() is None and debian.can_install():
        debian.install("pgbouncer")
    if find() is None:
        sys.exit("no PgBouncer was found and none could be installed; install one")
    print(f"PgBouncer for the tests: {find()}")


if __name__ == "__main__":
    main()
