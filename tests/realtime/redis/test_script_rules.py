"""Rules for every Lua script: its name, its arguments bound first, no list passed to a call uncut."""

import re
from pathlib import Path

import pytest

from config.env import BASE_DIR

SCRIPTS = sorted((BASE_DIR / "realtime" / "redis" / "lua").glob("*.lua"))
AREAS = ("auth", "feed", "intent", "layer", "limit", "presence", "redis", "relay", "stream", "topic")
CUT_LISTS = ("redis_call", "stream_add")
"""The only scripts that use ``unpack``: one cuts a list into several calls, the other refuses one that is too long."""
ARGUMENT = re.compile(r"\b(KEYS|ARGV)\[(.*?)\]")


def code_of(script: Path) -> list[str]:
    """Return the lines of a script without comments."""
    lines = (re.sub(r"--.*", "", line).rstrip() for line in script.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#!")]


def split_at_the_binding_block(script: Path) -> tuple[list[str], list[str]]:
    """Return the first lines of a script, which are ``local`` declarations, and the rest."""
    lines = code_of(script)
    is_binding = re.compile(r"local [\w, ]+ = (.*\b(KEYS|ARGV)\[\d+\].*|\d+)")
    length = next((i for i, line in enumerate(lines) if not is_binding.fullmatch(line)), len(lines))
    return lines[:length], lines[length:]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
class TestEveryScript:
    def test_name_is_an_area_and_a_verb(self, script: Path) -> None:
        assert re.fullmatch(rf"({'|'.join(AREAS)})_[a-z]+(_[a-z]+)*", script.stem)

    def test_first_comment_says_what_it_does(self, script: Path) -> None:
        first, second = script.read_text().splitlines()[:2]
        assert (second if first.startswith("#!lua") else first).startswith("-- ")

    def test_arguments_are_bound_first(self, script: Path) -> None:
        bound, rest = split_at_the_binding_block(script)
        for name in ("KEYS", "ARGV"):
            numbers = [int(index) for kind, index in ARGUMENT.findall("\n".join(bound)) if kind == name]
            assert sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1)), f"a number of {name} is left out"
            later = [index for kind, index in ARGUMENT.findall("\n".join(rest)) if kind == name]
            assert not [index for index in later if index.isdecimal()], f"{name} is used outside the first lines"
            offsets = re.findall(r"local (first_\w+) = (\d+)", "\n".join(bound))
            if later:
                assert (str(len(set(numbers)) + 1)) in [number for _, number in offsets], (
                    f"where does {name}'s tail begin?"
                )

    def test_includes_take_no_arguments_of_their_own(self, script: Path) -> None:
        if not script.read_text().startswith("#!lua"):
            assert not re.search(r"\b(KEYS|ARGV)\b", script.read_text())

    def test_lists_are_cut_by_includes_only(self, script: Path) -> None:
        found = re.findall(r"\bunpack\((.*)\)", "\n".join(code_of(script)))
        if script.stem in CUT_LISTS:
            assert found
        else:
            assert found == []


def test_every_script_is_used() -> None:
    python = "\n".join(file.read_text() for file in (BASE_DIR / "realtime").rglob("*.py"))
    lua = "\n".join(script.read_text() for script in SCRIPTS)
    used = {*re.findall(r'Script\("(\w+)"\)', python), *re.findall(r"^--@include (\w+)$", lua, re.MULTILINE)}
    assert used == {script.stem for script in SCRIPTS}
