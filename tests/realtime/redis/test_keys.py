"""Check that one module makes every Redis key."""

import re

from config.env import BASE_DIR


def test_no_other_module_names_a_key() -> None:
    named = [
        str(file.relative_to(BASE_DIR))
        for package in ("realtime", "chatws")
        for file in [*(BASE_DIR / package).rglob("*.py"), *(BASE_DIR / package).rglob("*.lua")]
        if re.search(r"""["']chatws:[\w{]""", file.read_text())
    ]
    assert named == []
