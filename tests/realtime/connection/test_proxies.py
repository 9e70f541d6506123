"""Check which address counts as the client's behind proxies; tests/contract/test_limits.py uses real sockets."""

import ipaddress

import pytest

from realtime.connection.proxies import client_address, client_address_of

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:51234", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:51234", "2001:db8::9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9:51234, 10.0.0.7:80", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9,", "203.0.113.9"),
        ("10.0.0.1", ",, 203.0.113.9 ,  , 10.0.0.7,", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, _hidden, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("fd00::1%eth0", "203.0.113.9", "203.0.113.9"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("::ffff:198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("", "203.0.113.9, unknown", ""),
        ("", "", ""),
    ],
)
def test_header_is_read_up_to_the_first_untrusted_address(peer: str, forwarded: str, address: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == address


@pytest.mark.parametrize(
    "values", [["198.51.100.1", "203.0.113.9:1, 10.0.0.7"], ["198.51.100.1, 203.0.113.9", "10.0.0.7"]]
)
def test_several_headers_are_joined_in_their_order(values: list[str]) -> None:
    first, last = ((b"x-forwarded-for", value.encode()) for value in values)
    headers = [first, (b"host", b"a"), last]
    assert client_address_of({"client": ["10.0.0.1", 1], "headers": headers}, TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_header_over_a_unix_socket_is_trusted(client: tuple[str, int] | None) -> None:
    scope = {"client": client, "headers": [(b"x-forwarded-for", b"198.51.100.1, 203.0.113.9")]}
    assert client_address_of(scope, ()) == "203.0.113.9"
