"""Check which connections a process refuses, without sockets; tests/contract/test_limits.py uses real ones."""

from dataclasses import replace
from typing import Any

from django.conf import settings

from realtime.node.admission import Admission


def admission(**limits: Any) -> Admission:
    return Admission(replace(settings.REALTIME, **limits))


def reasons(of: Admission, *addresses: str) -> list[str]:
    """Return why each connection is refused, empty for one that is accepted."""
    return [refusal.reason if (refusal := of.enter(address)) else "" for address in addresses]


def test_one_address_leaves_the_accept_rate_to_others() -> None:
    gate = admission(accepts_per_second=0.001, accepts_per_address=0.0005, burst_seconds=4_000)
    assert reasons(gate, *["192.0.2.1"] * 50) == ["", "", *["accepts"] * 48]
    assert reasons(gate, "192.0.2.2", "192.0.2.3", "192.0.2.4") == ["", "", "accepts"]


def test_ipv6_addresses_of_one_network_share_the_limits() -> None:
    gate = admission(connections_per_address=2)
    assert reasons(gate, "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1") == ["", "", "address", ""]
    gate.leave("2001:db8::9")  # by another address of the network
    gate.leave("2001:db8::3")
    assert reasons(gate, "2001:db8::4", "2001:db8::5") == ["", "address"]
    gate = admission(accepts_per_address=0.001, burst_seconds=1)
    assert reasons(gate, "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1") == ["", "accepts", ""]


def test_connections_without_an_address_share_no_limit() -> None:
    gate = admission(connections_per_address=1, accepts_per_address=0.001, burst_seconds=1)
    assert reasons(gate, "", "", "") == ["", "", ""]
