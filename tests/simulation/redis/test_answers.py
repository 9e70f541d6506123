"""The model gives each answer of `answers` as a real server does, and knows every command that the project uses."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.env import BASE_DIR
from realtime.redis import client, commands
from tests.simulation.redis import answers
from tests.simulation.redis.comparison import Both
from tests.simulation.redis.table import COMMANDS, Command
from tests.support.redis import RedisServer

IN_TESTS = {"DUMP", "EXISTS", "FLUSHALL", "KEYS", "LTRIM", "RESTORE", "SCAN", "XADD"}
"""Commands that only the tests send by redis-py."""
OF_CLIENTS = {
    "AUTH", "CLIENT|SETINFO", "CLIENT|SETNAME", "EVALSHA", "EXEC", "HELLO", "MULTI", "PING", "PUBLISH", "SELECT",
    "SUBSCRIBE", "UNSUBSCRIBE",
}  # fmt: skip
"""Commands that redis-py and channels_redis send by themselves."""
METHODS = {"DELETE": "DEL"}
WITHOUT_A_COMMAND = {"ACLOSE", "CONNECTION_POOL", "EXECUTE", "PIPELINE"}
"""Methods of redis-py's client that send none."""
NOT_MADE = {"ping": {"noscript"}, "select": {"noscript"}}
"""Flags in which the model differs: no script of the project calls these."""


@pytest.fixture
def both(redis_server: RedisServer) -> Iterator[Both]:
    made = Both(redis_server.port, connections=2)
    yield made
    made.close()


@pytest.mark.parametrize("protocol", [b"2", b"3"])
def test_subtle_answers_are_alike(both: Both, protocol: bytes) -> None:
    both.run([b"HELLO", protocol])
    for lines in answers.COMMANDS.values():
        for command in lines.split("|"):
            both.run(command.encode().split())
        assert both.connections[0].session.queued is None, "a transaction would hide what follows"
    both.compare_all()


@pytest.mark.parametrize("protocol", [b"2", b"3"])
def test_results_of_scripts_are_alike(both: Both, protocol: bytes) -> None:
    both.run([b"HELLO", protocol])
    both.run([b"SET", b"k", b"v"])
    for source in answers.SCRIPTS:
        both.run([b"EVAL", source.encode(), b"1", b"k", b"a", b"b"])
        both.run([b"GET", b"k"])


def test_numbers_are_written_alike(both: Both) -> None:
    for number in answers.NUMBERS:
        for source in (
            f"redis.call('SET', 'k', {number}) return redis.call('GET', 'k')",
            f"return {number}",
            f"return tostring({number})",
            f"redis.call('ZADD', 'z', {number}, 'm') return redis.call('ZSCORE', 'z', 'm')",
        ):
            both.run([b"EVAL", source.encode(), b"0"], kind=b"XLEN")


def test_long_words_are_cut_in_errors_alike(both: Both) -> None:
    for lengths in ((200, 100), (100, 100, 5), (3, 127, 10), (3, 128, 10)):
        both.run([b"x" * length for length in lengths])
    both.run([b"XINFO", b"y" * 200, b"s"])


def test_nodes_of_streams_are_filled_alike(both: Both) -> None:
    sizes = [1, 40, 63, 64, 130, 700, 4_000, 5_000, 70_000]
    for number in range(400):
        values = [b"v" * sizes[number % (1 + number // 50)], b"%d" % (7**number % 10**15 - 10**6)]
        words = [b"XADD", b"s", b"%d-%d" % (number // 3 + 1, number % 3), b"field", values[0], b"n", values[1]]
        both.run([*words, b"more", b"x"] if number % 7 == 0 else words)
        if number % 20 == 0:
            both.run([b"XINFO", b"STREAM", b"s"], kind=b"XLEN")
    both.run([b"XDEL", b"s", b"3-0", b"3-1", b"50-1"])
    for maxlen in (390, 300, 299, 150, 40, 3, 0):
        both.run([b"XTRIM", b"s", b"MAXLEN", b"~", b"%d" % maxlen])
        both.run([b"XLEN", b"s"])


def test_approximate_trim_by_id_drops_whole_nodes(both: Both) -> None:
    for number in range(1, 351):
        both.run([b"XADD", b"s", b"%d-1" % number, b"f", b"v"])
    for minid in (b"50", b"100-1", b"101", b"301", b"999"):
        both.run([b"XTRIM", b"s", b"MINID", b"~", minid])
        both.run([b"XADD", b"s", b"MINID", b"~", minid, b"*", b"f", b"v"])


def _every_command() -> Iterator[Command]:
    for command in COMMANDS.values():
        yield from command.subcommands.values() or [command]


def test_kinds_of_commands_are_those_of_the_server(redis_server: RedisServer) -> None:
    ours = list(_every_command())
    for command, info in zip(ours, _asked(redis_server, "INFO", *[each.name for each in ours]), strict=True):
        _, arity, listed, *_ = info
        flags = {
            "write": command.writes, "denyoom": command.needs_memory, "noscript": not command.in_scripts,
            "loading": command.while_loading, "stale": command.while_stale, "allow_busy": command.while_busy,
        }  # fmt: skip
        compared = flags.keys() - NOT_MADE.get(command.name, set())
        assert {flag: flags[flag] for flag in compared} == {flag: flag in listed for flag in compared}, command.name
        assert command.arity == arity, command.name


def _asked(server: RedisServer, *words: str) -> list[Any]:
    """Return the answer of COMMAND as it is."""
    with redis.Redis(port=server.port, protocol=2, decode_responses=True) as connection:
        connection.set_response_callback("COMMAND", lambda answer, **options: answer)
        answer: list[Any] = connection.execute_command("COMMAND", *words)
        return answer


def _known(names: set[str]) -> set[str]:
    """Return the commands among some words, by the names that the model has for them."""
    return {name.upper().replace("_", "|") for name in names}


def _in_sources(real: set[str]) -> set[str]:
    """Return the commands that stand first in a tuple or a call somewhere in the code."""
    found = set()
    for folder in ("realtime", "chatws"):
        for file in sorted(BASE_DIR.joinpath(folder).rglob("*.py")):
            found |= {name for name in _first_words(file) if name in real}
    return found


def _first_words(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        first = node.elts[:1] if isinstance(node, ast.Tuple) else node.args[:1] if isinstance(node, ast.Call) else []
        for word in first:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value.isupper():
                yield word.value


def test_every_command_of_the_project_is_modelled(redis_server: RedisServer) -> None:
    real = {name.upper() for name in _asked(redis_server, "LIST")}
    lua = "\n".join(file.read_text() for file in sorted(BASE_DIR.glob("realtime/redis/lua/*.lua")))
    in_lua = {"|".join(filter(None, found)) for found in re.findall(r"p?call\w*\('([A-Z]+)'(?:, '([A-Z]+)')?", lua)}
    methods = {
        METHODS.get(name.upper(), name.upper())
        for protocol in (commands.Redis, commands.Pipeline)
        for name in vars(protocol)
        if not name.startswith("_")
    } - WITHOUT_A_COMMAND
    used = _in_sources(real) | methods | client.REPEATABLE | IN_TESTS | OF_CLIENTS | in_lua
    assert len(used) > 60
    modelled = {command.name.upper() for command in _every_command()}
    assert _known(used) <= modelled | set(map(bytes.decode, COMMANDS))
