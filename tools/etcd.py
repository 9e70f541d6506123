"""`python -m tools.etcd`: sees to an etcd for the tests of discovery and prints where it is.

One that is there, else Debian's packages where we are root; the tests start members of their own, on the loopback.
"""

import shutil
import sys

from tools import debian


def find() -> tuple[str, str] | None:
    """The server and its command line, `etcdctl`."""
    server, control = shutil.which("etcd"), shutil.which("etcdctl")
    return (server, control) if server and control else None


def main() -> None:
    """Find one, or get one."""
    if find() is None and debian.can_install():
        debian.install("etcd-server", "etcd-client")
    if (found := find()) is None:
        sys.exit("no etcd with its etcdctl was found and none could be installed; install both")
    print(f"etcd for the tests: {found[0]}")


if __name__ == "__main__":
    main()
