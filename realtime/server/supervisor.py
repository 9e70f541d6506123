"""`--workers N`: run N server processes on one port, restart a process that dies, and forward signals.

The supervisor binds the port, and each worker accepts from it. A worker ends when its supervisor dies: it reads from a
pipe that the supervisor holds open.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

from realtime.aio.backoff import Backoff
from realtime.aio.waiting import wait_event
from realtime.observability.metrics import SHARED_FOLDER, mark_process_dead

logger = logging.getLogger(__name__)

ACCEPT_BACKLOG = 4_096
"""Most connections that wait to be accepted. With Twisted's 50, clients over it would retry after a second."""
SETTLED_SECONDS = 30.0
"""A worker that has run this long counts as started, also on a busy machine."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
PIPE = "CHATWS_SUPERVISOR_PIPE"
"""Environment variable with the file descriptor of the pipe's reading end; the supervisor holds the other end."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; exit with a message that names the address if it cannot be bound."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        sys.exit(f"can't listen on {host}:{port}: {error.strerror}")
    listening.listen(ACCEPT_BACKLOG)
    return listening


def supervise(command: Sequence[str], count: int, listening: socket.socket) -> int:
    """Keep ``count`` workers running until SIGTERM or SIGINT; return the exit status.

    ``command`` starts a worker that accepts from the file descriptor of ``listening``. The status is not 0 if a worker
    fails before any has run for `SETTLED_SECONDS`, because then all would fail.
    """
    return asyncio.run(_Supervisor(command, count, listening).run())


def when_supervisor_dies(loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
    """Call a function once this worker's supervisor has died; do nothing in a process without a supervisor."""
    if PIPE not in os.environ:
        return
    descriptor = int(os.environ[PIPE])

    def died() -> None:
        loop.remove_reader(descriptor)  # the pipe's end stays readable: each turn of the loop would call again
        logger.warning("the supervisor died; this worker shuts down")
        then()

    loop.add_reader(descriptor, died)


class _Supervisor:
    def __init__(self, command: Sequence[str], count: int, listening: socket.socket) -> None:
        self._command = command
        self._count = count
        self._descriptor = listening.fileno()
        self._stopping = asyncio.Event()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._has_settled = False
        self._status = 0

    async def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        self._pipe, ours = os.pipe()
        try:
            with TemporaryDirectory(prefix="chatws-metrics-") as self._metrics:
                await asyncio.gather(*(self._keep(number) for number in range(1, self._count + 1)))
        finally:
            os.close(ours)
        return self._status

    async def _keep(self, number: int) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        while not self._stopping.is_set():
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *self._command,
                pass_fds=(self._descriptor, self._pipe),
                env={**os.environ, PIPE: str(self._pipe), SHARED_FOLDER: self._metrics},
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which forwards it
            )
            self._processes.add(process)
            if self._stopping.is_set():
                process.terminate()
            status = await process.wait()
            self._processes.discard(process)
            mark_process_dead(process.pid, self._metrics)  # type: ignore[no-untyped-call]
            if self._stopping.is_set():
                return
            if time.monotonic() - began >= SETTLED_SECONDS:
                self._has_settled = True
                backoff.reset()
            elif not self._has_settled and status > 0:
                logger.error("worker %d ended with status %d before any had started; stopping all", number, status)
                self._status = status if status > 0 else 1
                self._stop()
                return
            logger.error("worker %d ended with status %d; restarting it in %.1f s", number, status, backoff.wait)
            await wait_event(self._stopping, backoff.take())

    def _stop(self) -> None:
        """Forward SIGTERM to the workers; at the second signal kill them."""
        number = signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM
        self._stopping.set()
        for process in self._processes:
            process.send_signal(number)
