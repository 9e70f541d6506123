"""Read the commonest frame of a client by itself: one masked text message, whole in what came (RFC 6455 section 5)."""

FINAL_TEXT, MASKED, NO_MASK = 0x81, 0x80, bytes(4)
"""First byte of a text message in one frame, and the bit of the second that says it's masked (RFC 6455 section 5.2)."""


def whole_text(data: bytes, most: int) -> tuple[str | None, int]:
    """The text of a client's frame that stands whole, as a whole message, at the beginning, and the frame's size.

    None for anything else, a frame with an error or with more than ``most`` bytes among them.
    """
    if len(data) < 6 or data[0] != FINAL_TEXT:
        return None, 0
    length, at = data[1] - MASKED, 2  # below 0 without a mask
    if length == 126:
        length, at = int.from_bytes(data[2:4]), 4
        if length < 126:
            return None, 0
    end = at + 4 + length
    if not 0 <= length <= most or (length == 127 and at == 2) or len(data) < end:
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
