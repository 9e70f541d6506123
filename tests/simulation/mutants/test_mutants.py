"""The mutants apply to the present source, are valid code, and are what runs."""

import ast
import json
import re
import subprocess
import sys

import lupa
import pytest

import realtime.hub.hub  # what a mutant can no longer be put into
from tests.simulation.mutants.catalogue import FOLDER, MUTANTS, mutants_in
from tests.simulation.mutants.loading import AlreadyLoaded, switch_on
from tests.simulation.mutants.mutant import ROOT, Mutant, NotApplicable

LISTED = """
name: m
path: {path}
breaks: lost
needs: nothing
guard: yes
 {before}
-{old}
+{new}
"""
HUB = LISTED.format(
    path="realtime/hub/hub.py", before="    def _opened(self, feed: LocalFeed) -> None:",
    old="        self.openings += 1", new="        self.openings += 2",
)  # fmt: skip
SCRIPT = LISTED.format(
    path="realtime/redis/lua/feed_begin.lua", before="local function feed_begin(meta, log, epoch, meta_seconds)",
    old="    redis.call('LTRIM', log, 1, 0)", new="    redis.call('LLEN', log)",
)  # fmt: skip

LOADED = """
import inspect, json, sys
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.loading import switch_on
switch_on(MUTANTS[sys.argv[1]])
import realtime.hub.local_feeds as local
import realtime.redis.scripts as scripts
from realtime.feeds import log
print(json.dumps([inspect.getsource(local.LocalFeeds._close), local.LocalFeeds._close.__code__.co_names,
    {name: script._source for name, script in vars(log).items() if isinstance(script, scripts.Script)}]))
"""


def loaded_with(name: str) -> tuple[str, list[str], dict[str, str]]:
    """Return, from a process with this mutant, a method's source and names, and the source of the log's scripts."""
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, name], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )  # fmt: skip
    source, names, scripts = json.loads(ended.stdout)
    return source, names, scripts


def test_scenes_of_mutants_exist() -> None:
    from tests.simulation.scenes.plan import SCENES

    named = {scene for mutant in MUTANTS.values() for scene in mutant.scenes}
    assert named
    assert named <= SCENES.keys()


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_mutant_applies_once_and_is_valid_code(mutant: Mutant) -> None:
    text = mutant.applied()
    if mutant.script:
        lupa.LuaRuntime().compile(re.sub(r"\A#!lua.*\n", "", text))
    else:
        sound = (ROOT / mutant.path).read_text()
        compile(text, mutant.path, "exec")
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(sound))


def test_change_is_read_as_a_diff() -> None:
    [mutant] = mutants_in(HUB)
    assert mutant.guard
    assert (mutant.module, mutant.script) == ("realtime.hub.hub", "")
    assert mutant.applied() == (ROOT / mutant.path).read_text().replace("self.openings += 1", "self.openings += 2")


@pytest.mark.parametrize(
    "text",
    [
        HUB.replace("lost", "nothing"), HUB.replace("needs: nothing\n", ""), HUB.replace("guard", "gaurd"),
    ],
    ids=["no promise", "a field is missing", "unknown field"],
)  # fmt: skip
def test_mutant_that_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="mutant"):
        list(mutants_in(text))


def test_every_name_is_listed_once() -> None:
    listed = [mutant.name for file in FOLDER.glob("*.txt") for mutant in mutants_in(file.read_text())]
    assert sorted(listed) == sorted(MUTANTS)


def test_lines_that_have_gone_are_an_error() -> None:
    [mutant] = mutants_in(HUB.replace("openings", "closings"))
    with pytest.raises(NotApplicable, match="m: its old lines occur 0 times in realtime"):
        mutant.applied()


def test_lines_that_occur_twice_are_an_error() -> None:
    [mutant] = mutants_in(LISTED.format(path="realtime/hub/hub.py", before="", old="", new="# twice"))
    with pytest.raises(NotApplicable, match=r"its old lines occur [2-9] times"):
        mutant.applied()


def test_part_of_a_line_does_not_apply() -> None:
    [mutant] = mutants_in(HUB.replace("        self.openings", "self.openings"))
    with pytest.raises(NotApplicable, match="occur 0 times"):
        mutant.applied()


@pytest.mark.parametrize("text", [HUB, SCRIPT], ids=["module", "script"])
def test_loaded_module_can_not_be_mutated(text: str) -> None:
    [mutant] = mutants_in(text)
    assert realtime.hub.hub.__name__ in sys.modules
    before = list(sys.meta_path)
    with pytest.raises(AlreadyLoaded, match="has been imported already"):
        switch_on(mutant)
    assert sys.meta_path == before


def test_python_mutant_is_what_runs() -> None:
    source, names, scripts = loaded_with("local-closes-under-a-subscriber")
    assert "if feed.subscribers or self.by_name" in source
    assert "subscribing" not in names
    assert all("if false then" not in script for script in scripts.values())


def test_script_mutant_is_what_runs() -> None:
    source, names, scripts = loaded_with("log-without-a-cursor")
    assert "elseif false then" in scripts["_feed_append"]
    assert "subscribing" in names
    assert "feed.subscribing" in source


def test_mutant_of_an_included_script_is_in_each_that_includes_it() -> None:
    _, _, scripts = loaded_with("log-epoch-begins-with-old-entries")
    mutated = {name for name, source in scripts.items() if "Begin an epoch" in source}
    assert mutated == {"_feed_append", "_feed_open", "_feed_read", "_feed_reset_epoch"}
    assert all("'LTRIM', log, 1, 0" not in scripts[name] for name in mutated)
