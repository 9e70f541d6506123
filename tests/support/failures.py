"""Add to a failed test's report why it failed: the end of each process's log, stacks after a time-out, and the seed
that repeats the order.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Process, Stack
from tests.support.zygote import Forked

LAST_BYTES = 4_000
DUMP_SECONDS = 10.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remember the stacks that exist before a test; the test adds its own."""
    Stack.recent = [*Stack.living]
    if Stack.shared is not None:
        Stack.shared.processes[:] = [process for process in Stack.shared.processes if process.running]
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End the processes that a test adds to a shared stack; otherwise they would run until the last test."""
    before = {stack: [process for process in stack.processes if process.running] for stack in Stack.living}
    try:
        return (yield)
    finally:
        for stack, processes in before.items():
            end_extra(processes, stack.processes)


def end_extra(before: list[Process], processes: list[Process]) -> None:
    """End the added processes, except those that replace an ended process of their kind."""
    lacking = Counter(process.kind for process in before if not process.running)
    for process in processes:
        if process not in before and process.running:
            if lacking[process.kind]:
                lacking[process.kind] -= 1
            else:
                process.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the logs to the report of a test that failed."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # a wrapper receives the result
    if report.failed:
        processes = [(stack, process) for stack in Stack.recent for process in stack.processes]
        if "Timeout" in str(report.longrepr)[-200:]:
            _write_stacks([process for _, process in processes])
        for stack, process in processes:
            state = "running" if process.running else f"ended with {process.wait()}"
            report.sections.append((f"log of {process.name} ({stack.folder.name}), {state}", _end_of(process.log)))
        for stack in Stack.recent:
            report.sections.append((f"log of Valkey ({stack.folder.name})", _end_of(stack.folder / "valkey.log")))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print how to repeat the order of a failed run."""
    seed = terminalreporter.config.getoption("randomly_seed", None)
    if exitstatus and seed is not None:
        terminalreporter.write_line(f"The order was that of seed {seed}: make test SEED={seed}")


def _write_stacks(processes: list[Process]) -> None:
    """Make each process write the stacks of its threads to its log; return when the logs have grown."""
    sizes = {}
    for process in processes:
        if process.running and isinstance(process.handle, Forked):
            sizes[process.log] = process.log.stat().st_size
            os.kill(process.pid, signal.SIGUSR1)
    deadline = time.monotonic() + DUMP_SECONDS
    while time.monotonic() < deadline and any(log.stat().st_size == size for log, size in sizes.items()):
        time.sleep(0.05)


def _end_of(log: Path) -> str:
    if not log.exists():
        return "(there is none)"
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LAST_BYTES))
        return file.read().decode(errors="replace")
