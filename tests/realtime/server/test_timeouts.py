"""Check that the time-outs of many connections are checked in slices, so that frames come between."""

from types import SimpleNamespace
from typing import Any

import pytest

from realtime.server import daphne as module
from realtime.server.daphne import CHECK_SECONDS, CHECKED_AT_ONCE, Server


class Connection:
    """A connection that counts its checks."""

    checks = 0

    def check_timeouts(self) -> None:
        self.checks += 1


@pytest.mark.parametrize("count", [0, 1, CHECKED_AT_ONCE, 7 * CHECKED_AT_ONCE + 1])
def test_each_connection_is_checked_once_in_slices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    scheduled: list[tuple[float, Any, tuple[Any, ...]]] = []
    reactor = SimpleNamespace(callLater=lambda seconds, call, *given: scheduled.append((seconds, call, given)))
    monkeypatch.setattr(module, "reactor", reactor)
    connections: dict[Connection, dict[str, Any]] = {Connection(): {} for _ in range(count)}
    server: Any = SimpleNamespace(connections=connections, timeout_checker=object())
    Server.timeout_checker(server)
    *slices, again = scheduled
    for number, (seconds, check, given) in enumerate(slices):
        check(*given)
        assert 0 <= seconds < CHECK_SECONDS
        assert sum(one.checks for one in connections) <= (number + 1) * CHECKED_AT_ONCE
    assert all(one.checks == 1 for one in connections)
    assert again == (CHECK_SECONDS, server.timeout_checker, ())
