"""Read the PROXY protocol, versions 1 and 2, with which a TCP balancer passes on the client's address.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

import ipaddress
import re
import struct
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_LINE = 107
MOST_BYTES = 4_096
"""Longest header of version 2 that is accepted: addresses and extensions (TLVs)."""
LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5})\r\n")
UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
LOCAL, PROXY = 0x20, 0x21
SIZES = {0x11: 4, 0x21: 16}
"""Bytes of an address by family and transport: TCP over IPv4 or IPv6."""


class Malformed(ValueError):
    """The bytes are not a PROXY header; the message says why."""


class Header(NamedTuple):
    """A header of so many bytes. ``address`` and ``port`` are the client's; empty where the balancer names none."""

    size: int
    address: str = ""
    port: int = 0


def read_header(data: bytes) -> Header | None:
    """Return the header that ``data`` begins with; None if it is not complete.

    Raises:
        Malformed: ``data`` does not begin with a header.
    """
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _read_binary(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _read_line(data)
    raise Malformed("no PROXY header")


def _read_line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise Malformed("version 1: the line is too long")
        return None
    line = data[: end + 2]
    if UNKNOWN.fullmatch(line):
        return Header(len(line))
    found = LINE.fullmatch(line)
    if found is None:
        raise Malformed("version 1: not an address that it may have")
    try:
        address = ipaddress.ip_address(found[2].decode())
        other = ipaddress.ip_address(found[3].decode())
    except ValueError as error:
        raise Malformed(f"version 1: {error}") from None
    if {address.version, other.version} != {int(found[1][-1:])}:
        raise Malformed("version 1: the addresses are not of its family")
    port = int(found[4])
    if max(port, int(found[5])) > 65_535:
        raise Malformed("version 1: no port")
    return Header(len(line), str(address), port)


def _read_binary(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command not in (LOCAL, PROXY):
        raise Malformed(f"version 2: unknown version or command {command:#x}")
    size = 16 + length
    if size > MOST_BYTES:
        raise Malformed(f"version 2: a header of {size} bytes")
    if len(data) < size:
        return None
    width = SIZES.get(family)
    if command == LOCAL or width is None:  # the balancer's own connection, or no TCP: the peer's address counts
        return Header(size)
    if length < 2 * width + 4:
        raise Malformed("version 2: too short for its addresses")
    address = ipaddress.ip_address(data[16 : 16 + width])
    (port,) = struct.unpack_from("!H", data, 16 + 2 * width)
    return Header(size, str(address), port)
