"""Run a function in a forked child: each world begins with the same memory, and ends with its process."""

import gc
import os
import pickle
import random
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
LARGEST = 470
"""Python manages the memory of objects up to about this size itself, in bytes."""
BLOCKS = 200_000


class ChildFailed(Exception):
    """A child raised, or died; the text has its traceback, or how it died."""


class Child(Generic[Result]):
    """A running child. ``result`` waits for it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.pipe, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _serve(work, theirs)
        os.close(theirs)
        self._parts: list[bytes] = []

    def read(self) -> bool:
        """Read what the child has written; return whether that was all."""
        part = os.read(self.pipe, 1 << 20)
        self._parts.append(part)
        return not part

    def result(self) -> Result:
        """Return what the function returned. Call it once `read` has returned True.

        Raises:
            ChildFailed: the function raised, or the child was killed.
        """
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        written = b"".join(self._parts)
        if not written:
            raise ChildFailed(f"the child ended with status {status}")
        is_good, result = pickle.loads(written)  # our own child wrote it
        if not is_good:
            raise ChildFailed(result)
        value: Result = result
        return value

    def kill(self) -> None:
        """End the child at once."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.pipe)
        os.waitpid(self.pid, 0)


def in_child(work: Callable[[], Result]) -> Result:
    """Run a function in a child and return its result; raises `ChildFailed`."""
    child = Child(work)
    while not child.read():
        pass
    return child.result()


def forked(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a child: at the end of a world, Python would complain about what never ended there."""

    @wraps(test)
    def run(*args: Any, **named: Any) -> None:
        in_child(partial(test, *args, **named))

    return run


def stirred(work: Callable[[], Result]) -> Result:
    """Run a function with free memory in another order, so that what depends on the addresses of objects differs.

    Objects without a hash of their own are hashed by their address: the order of a set of them is one such thing.
    """
    draws = random.Random("addresses")
    blocks = [bytes(draws.randrange(LARGEST)) for _ in range(BLOCKS)]
    draws.shuffle(blocks)
    del blocks[::2]
    answer = work()
    blocks.clear()
    return answer


def in_children(
    works: Iterable[Callable[[], Result]], at_once: int, deadline: float = float("inf")
) -> Iterator[Result]:
    """Yield the results of many functions as they end, ``at_once`` children at a time.

    No further one is started after ``deadline``, in seconds of `time.monotonic`. Raises `ChildFailed`.
    """
    waiting, running = iter(works), selectors.DefaultSelector()
    try:
        while True:
            while len(running.get_map()) < at_once and time.monotonic() < deadline:
                work = next(waiting, None)
                if work is None:
                    break
                child = Child(work)
                running.register(child.pipe, selectors.EVENT_READ, child)
            if not running.get_map():
                return
            for key, _ in running.select():
                child = key.data
                if child.read():
                    running.unregister(child.pipe)
                    yield child.result()
    finally:
        for key in list((running.get_map() or {}).values()):
            key.data.kill()


def _serve(work: Callable[[], Any], pipe: int) -> None:
    """Run the function and write its result; never returns."""
    status = 1
    try:
        gc.disable()  # when garbage is collected differs between Pythons, and some of it closes connections
        random.seed(0)
        try:
            answer = pickle.dumps((True, work()))
        except BaseException:  # a boundary: the parent gets it
            answer = pickle.dumps((False, traceback.format_exc()))
        view = memoryview(answer)
        while view:
            view = view[os.write(pipe, view) :]
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's is flushed or closed twice
