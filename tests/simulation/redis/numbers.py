"""Numbers in Redis's own forms: what it accepts, and how it writes them."""

import math

from tests.simulation.redis.replies import NOT_AN_INTEGER, Refusal

SMALLEST, LARGEST = -(2**63), 2**63 - 1
EXACT = 2**52
"""Whole numbers below this are written without an exponent."""


def integer(value: bytes, problem: str = NOT_AN_INTEGER) -> int:
    """Return a 64-bit integer; raise `Refusal` with ``problem`` for anything else, also for ``+1`` and ``01``."""
    try:
        number = int(value)
    except ValueError:
        raise Refusal(problem) from None
    if b"%d" % number != value or not SMALLEST <= number <= LARGEST:
        raise Refusal(problem)
    return number


def double(value: bytes, problem: str = "ERR value is not a valid float") -> float:
    """Return a float, infinities included; raise `Refusal` with ``problem`` for anything else."""
    try:
        number = float(value)
    except ValueError:
        raise Refusal(problem) from None
    if number != number or b"_" in value or value.strip() != value:
        raise Refusal(problem)
    return number


def number_text(number: float) -> bytes:
    """Return a number as Redis writes it: the fewest digits that give the same number.

    Redis writes some numbers with more digits than that, which mean the same number.
    """
    if -EXACT < number < EXACT and number == int(number):
        return b"%d" % int(number)
    if math.isinf(number):
        return b"inf" if number > 0 else b"-inf"
    if number != number:
        return b"nan"
    sign = b"-" if number < 0 else b""
    mantissa, _, exponent = repr(abs(float(number))).partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent or 0) - len(fraction)
    digits = (whole + fraction).lstrip("0")
    shift += len(digits)
    digits = digits.rstrip("0")
    return sign + _placed(digits, shift - len(digits)).encode()


def _placed(digits: str, shift: int) -> str:
    """Return ``digits`` times ten to the power of ``shift``, by the rules of Redis's fpconv."""
    exponent = shift + len(digits) - 1
    if shift >= 0 and abs(exponent) < len(digits) + 7:
        return digits + "0" * shift
    if shift < 0 and (shift > -7 or abs(exponent) < 4):
        whole = len(digits) + shift
        return f"0.{'0' * -whole}{digits}" if whole <= 0 else f"{digits[:whole]}.{digits[whole:]}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
