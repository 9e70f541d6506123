"""Run a real PostgreSQL on a free port of the loopback.

`python -m tests.support.postgres COMMAND …` runs a command on one: its `DATABASE_URL` names an empty database.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support.redis import free_port
from tools.postgres import find

SECONDS = 120
"""Seconds for a start or an end: it writes all its data to a disk that other processes use too."""


class PostgresServer:
    """One server with its own data folder. It does not run as root, so root starts it as ``postgres``."""

    def __init__(self) -> None:
        programs = find()
        assert programs, "no PostgreSQL: run `make postgres`, or name its folder in CHATWS_POSTGRES_BIN"
        self.programs = programs
        self.port = free_port()
        self._databases = 0
        self.folder = Path(tempfile.mkdtemp(prefix="chatws-postgres-"))
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create its folder, start it and return when it answers."""
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        data = self.folder / "data"
        self._run("initdb", "--pgdata", str(data), "--username", "chatws", "--auth", "trust", "--no-sync")
        command = [
            str(self.programs / "postgres"), "-D", str(data), "-p", str(self.port), "-k", str(self.folder),
            "-c", "listen_addresses=127.0.0.1",
            # The data written by a killed process survives, and no test simulates a power cut.
            "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
            "-c", "max_connections=400",  # each thread of each process keeps one for a minute
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, **self.as_owner())
        log.close()
        deadline = time.monotonic() + SECONDS
        while subprocess.run([self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def fresh_database(self) -> str:
        """Return the URL of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "chatws", name)
        return f"postgres://chatws@127.0.0.1:{self.port}/{name}"

    def require_password(self, password: str) -> None:
        """Accept only new connections with this password."""
        with psycopg.connect(self.fresh_database(), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE chatws PASSWORD {}").format(sql.Literal(password)))
            (self.folder / "data/pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + SECONDS
        while (
            subprocess.run(
                [
                    self.programs / "psql",
                    "-w",
                    "-c",
                    "",
                    f"host=127.0.0.1 port={self.port} user=chatws dbname=postgres",
                ],
                capture_output=True,
            ).returncode
            == 0
        ):
            assert time.monotonic() < deadline, "it still accepts connections without a password"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self.programs / program, *arguments], capture_output=True, text=True, **self.as_owner())
        assert done.returncode == 0, done.stdout + done.stderr

    def as_owner(self) -> dict[str, Any]:
        """Return the arguments of `subprocess` that run a program as the server's own user, in its folder."""
        if self._user is None:
            return {"cwd": str(self.folder)}
        return {"cwd": str(self.folder), "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def main() -> None:
    """Run the command and exit with its status."""
    server = PostgresServer()
    try:
        server.start()
        environment = {**os.environ, "DATABASE_URL": server.fresh_database()}
        status = subprocess.run(sys.argv[1:], env=environment).returncode
    finally:
        server.stop()
    sys.exit(status)


if __name__ == "__main__":
    main()
