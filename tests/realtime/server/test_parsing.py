"""Check the parsing of a client's whole text frames without autobahn (RFC 6455 section 5.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.server.parsing import whole_text

MOST = 65_535


def frame(payload: bytes, mask: bytes = b"\x01\x80\xff\x00", first: int = 0x81) -> bytes:
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((first,)) + length + mask + masked


@given(st.text(max_size=400), st.binary(min_size=4, max_size=4), st.binary(max_size=20))
def test_whole_frame_yields_text_and_size(text: str, mask: bytes, rest: bytes) -> None:
    whole = frame(text.encode(), mask)
    assert whole_text(whole + rest, MOST) == (text, len(whole))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 1_000, MOST])
def test_every_length_is_read(size: int) -> None:
    assert whole_text(frame(b"x" * size), MOST) == ("x" * size, len(frame(b"x" * size)))


@given(st.text(min_size=1, max_size=200), st.data())
def test_partial_frame_is_left_to_autobahn(text: str, data: st.DataObject) -> None:
    whole = frame(text.encode())
    assert whole_text(whole[: data.draw(st.integers(0, len(whole) - 1))], MOST) == (None, 0)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"hello", first=0x01),  # not the last part
        frame(b"hello", first=0x80),  # a continuation
        frame(b"hello", first=0x82),
        frame(b"hello", first=0xC1),  # compressed
        frame(b"hello", first=0x89),
        b"\x81\x05hello",  # without a mask
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",  # a length in more bytes than needed
        b"\x81\xff" + (5).to_bytes(8) + bytes(4) + b"hello",
        frame(b"\xff"),
        frame(b"a\xe2\x82"),
        frame(b"\xed\xa0\x80"),
    ],
)
def test_other_frames_are_left_to_autobahn(data: bytes) -> None:
    assert whole_text(data, MOST) == (None, 0)


def test_frame_over_the_limit_is_left_to_autobahn() -> None:
    assert whole_text(frame(b"x" * 100), 100) == ("x" * 100, 106)
    assert whole_text(frame(b"x" * 101), 100) == (None, 0)
    assert whole_text(frame(b"x" * 301), 300) == (None, 0)
