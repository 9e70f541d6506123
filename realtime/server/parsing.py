"""Parse a client's most common frame without autobahn: a complete masked text message (RFC 6455 section 5)."""

FINAL_TEXT, MASKED, NO_MASK = 0x81, 0x80, bytes(4)
"""The first byte of a text message in one frame, the mask bit of the second byte, and a mask that changes nothing."""


def whole_text(data: bytes, max_bytes: int) -> tuple[str | None, int]:
    """Return the text and the size of the first frame in ``data``, if it is complete and a whole text message.

    The text is None for anything else, including a malformed frame and a payload over ``max_bytes``.
    """
    if len(data) < 6 or data[0] != FINAL_TEXT:
        return None, 0
    length, at = data[1] - MASKED, 2  # negative if the frame is not masked
    if length == 126:
        length, at = int.from_bytes(data[2:4]), 4
        if length < 126:
            return None, 0
    end = at + 4 + length
    if not 0 <= length <= max_bytes or (length == 127 and at == 2) or len(data) < end:
        return None, 0
    payload = data[at + 4 : end]
    mask = data[at : at + 4]
    if mask != NO_MASK:
        whole = mask * (length // 4 + 1)
        payload = (int.from_bytes(payload) ^ int.from_bytes(whole[:length])).to_bytes(length)
    try:
        return payload.decode(), end
    except UnicodeDecodeError:
        return None, 0
