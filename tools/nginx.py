"""`python -m tools.nginx`: sees to an nginx for the test of `deploy/nginx` and prints where it is.

One that is there, else Debian's package where we are root; the tests start one of their own, on the loopback.
"""

import os
import shutil
import sys

from tools import debian


def find() -> str | None:
    """The program."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def main() -> None:
    """Find one, or get one, without its service."""
    if find() is None and debian.can_install():
        debian.install("nginx-light")
    if find() is None:
        sys.exit("no nginx was found and none could be installed; install one")
    print(f"nginx for the tests: {find()}")


if __name__ == "__main__":
    main()
