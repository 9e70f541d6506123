"""`python -m tools.etcd` installs etcd for the discovery tests if it is missing, and prints its path.

It installs Debian's packages, which needs root. The tests start their own members on the loopback.
"""

import shutil
import sys

from tools import debian


def find() -> tuple[str, str] | None:
    """Return the paths of the server and of its command line, `etcdctl`."""
    server, control = shutil.which("etcd"), shutil.which("etcdctl")
    return (server, control) if server and control else None


def main() -> None:
    """Find etcd, or install it."""
    if find() is None and debian.can_install():
        debian.install("etcd-server", "etcd-client")
    if (found := find()) is None:
        sys.exit("no etcd with its etcdctl was found and none could be installed; install both")
    print(f"etcd for the tests: {found[0]}")


if __name__ == "__main__":
    main()
