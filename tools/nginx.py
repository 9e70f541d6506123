"""`python -m tools.nginx` installs nginx for the test of `deploy/nginx` if it is missing, and prints its path.

It installs Debian's package, which needs root. The test starts its own nginx on the loopback.
"""

import os
import shutil
import sys

from tools import debian


def find() -> str | None:
    """Return the path of nginx, or ``None``."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def main() -> None:
    """Find nginx, or install it without its service."""
    if find() is None and debian.can_install():
        debian.install("nginx-light")
    if find() is None:
        sys.exit("no nginx was found and none could be installed; install one")
    print(f"nginx for the tests: {find()}")


if __name__ == "__main__":
    main()
