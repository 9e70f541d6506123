"""Check that our replacements of autobahn's native classes return the same results."""

import os
import random
import subprocess
import sys

import pytest
from autobahn.websocket.utf8validator import Utf8Validator as AutobahnValidator

from realtime.server.lean_autobahn import Utf8Validator, XorMasker

PIECES = (
    b"", b"a", b"\x00", b"\x7f", "é".encode(), "€".encode(), "\ud7ff".encode(), "\ue000".encode(), "😀".encode(),
    "\U0010ffff".encode(), b"\x80", b"\xbf", b"\xc0", b"\xc1\x80", b"\xc2", b"\xdf\xbf", b"\xe0\x80", b"\xe0\x9f\xbf",
    b"\xe0\xa0", b"\xe2\x82", b"\xed\x9f", b"\xed\xa0", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xef\xbf\xbf", b"\xf0\x80",
    b"\xf0\x8f\xbf\xbf", b"\xf0\x90", b"\xf0\x9f\x98", b"\xf4\x8f\xbf", b"\xf4\x90", b"\xf4\x90\x80\x80", b"\xf5",
    b"\xfe", b"\xff", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
)  # fmt: skip


def answers(validator: AutobahnValidator | Utf8Validator, parts: list[bytes]) -> list[tuple[bool, bool, int, int]]:
    """Return the answers up to the first invalid one: later answers of autobahn mean nothing, the connection closes."""
    found = []
    for part in parts:
        found.append(tuple(validator.validate(part)))
        if not found[-1][0]:
            break
    return found


def split(text: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def test_both_validators_agree_on_every_byte_pair() -> None:
    ours, theirs = Utf8Validator(), AutobahnValidator()  # type: ignore[no-untyped-call]
    for first in range(128, 256):
        for second in range(256):
            for parts in ([bytes((first, second))], [bytes((first,)), bytes((second,))]):
                ours.reset()
                theirs.reset()  # type: ignore[no-untyped-call]
                assert answers(ours, parts) == answers(theirs, parts), parts


@pytest.mark.parametrize("seed", range(20))
def test_both_validators_agree_on_split_texts(seed: int) -> None:
    chance = random.Random(seed)
    ours, theirs = Utf8Validator(), AutobahnValidator()  # type: ignore[no-untyped-call]
    for _ in range(500):
        parts = split(b"".join(chance.choices(PIECES, k=chance.randrange(8))), chance)
        ours.reset()
        theirs.reset()  # type: ignore[no-untyped-call]
        assert answers(ours, parts) == answers(theirs, parts), parts


def test_nothing_is_valid_after_invalid_bytes() -> None:
    validator = Utf8Validator()
    assert validator.validate(b"a\xff") == (False, False, 1, 1)
    assert validator.validate(b"a") == (False, False, 0, 1)
    validator.reset()
    assert validator.validate(b"a") == (True, True, 1, 1)


def test_split_payload_is_masked_by_position() -> None:
    chance = random.Random(1)
    for size in (0, 1, 3, 4, 5, 127, 128, 70_000):
        mask, payload = chance.randbytes(4), chance.randbytes(size)
        masker = XorMasker(mask, size)
        masked = b"".join(masker.process(part) for part in split(payload, chance))
        assert masked == bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))
        assert masker.pointer() == size


def run(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_gateway_uses_the_lean_validator_and_masker() -> None:
    code = "from realtime.server import lean_autobahn as l; from autobahn.websocket import protocol as p;"
    code += "print(p.Utf8Validator is l.Utf8Validator, p.create_xor_masker is l.XorMasker)"
    assert run(code) == "True True"


def test_real_wamp_can_still_be_imported() -> None:
    code = (
        "from realtime.server import lean_autobahn; from autobahn.twisted import wamp; from autobahn.wamp import types;"
    )
    code += "print(wamp.__name__, types.TransportDetails is lean_autobahn.TransportDetails)"
    assert run(code) == "autobahn.twisted.wamp False"


def test_other_autobahn_release_is_not_replaced() -> None:
    code = "from realtime.server import lean_autobahn as l; from autobahn.websocket import protocol as p;"
    code += "print(p.Utf8Validator is l.Utf8Validator)"
    assert run(code, AUTOBAHN_USE_NVX="0") == "False"
    other = "import importlib.metadata as m; real = m.version;"
    other += "m.version = lambda name: '99.1' if name == 'autobahn' else real(name);"
    assert run(other + code) == "False"
