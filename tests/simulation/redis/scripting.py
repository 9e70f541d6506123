"""Lua scripts, in Lua 5.1 as in Redis: EVAL, EVALSHA and SCRIPT, and what a script sees of Redis."""

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from lupa.lua51 import LuaRuntime, lua_type

from tests.simulation.redis.cmsgpack import pack
from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import SMALLEST, integer, number_text
from tests.simulation.redis.replies import (
    NULL_ARRAY,
    OK,
    Blocked,
    Failure,
    Refusal,
    Reply,
    Simple,
    text_of,
)
from tests.simulation.redis.table import COMMANDS, Command, add, find

NO_SCRIPT = "NOSCRIPT No matching script."
FLAGS = frozenset({b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys"})
NOT_WORDS = "ERR Command arguments must be strings or integers"


class Script(NamedTuple):
    """A compiled script."""

    function: Any
    flags: frozenset[bytes] | None
    """Those of its ``#!lua`` line; None without one."""


class ScriptFailure(Exception):
    """Ends a script whose ``redis.call`` failed."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class Scripts:
    """The scripts that the server knows, and the Lua in which they run."""

    def __init__(self, keys: Keyspace) -> None:
        self._keys = keys
        self.refusal: Callable[[frozenset[bytes] | None], str] | None = None
        """Returns why the server refuses a script with these flags, or an empty text. None: it refuses none."""
        self.command_refusal: Callable[[Command], str] | None = None
        """The same for a command of a script without a ``#!lua`` line."""
        self._known: dict[bytes, Script] = {}
        self._compiled: dict[bytes, Script] = {}
        """Every script that was ever compiled: compiling is slow."""
        self._flags: frozenset[bytes] | None = None
        """The flags of the script that runs."""
        self._lua: Any = None
        self._run: Any = None
        self._compile: Any = None

    def clear(self) -> None:
        """Forget all scripts."""
        self._known.clear()

    def find(self, digest: bytes) -> Script | None:
        """Return a script by its SHA-1 in hexadecimal, or None."""
        return self._known.get(digest) or self._known.get(digest.lower())

    def load(self, source: bytes) -> bytes:
        """Compile a script, unless it is known, and return its digest; raise `Refusal` if it can't be compiled."""
        digest = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        if digest not in self._known:
            self._known[digest] = self._compiled.get(digest) or self._new_script(source)
            self._compiled[digest] = self._known[digest]
        return digest

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        """Run a script and return its reply."""
        if self.refusal is not None and (problem := self.refusal(script.flags)):
            raise Refusal(problem)
        self._flags = script.flags
        table_from = self._lua.table_from
        is_done, result = self._run(script.function, table_from(keys), table_from(arguments))
        if is_done:
            return self._reply(result)
        text = result[b"err"]
        where = b" script: on %b:%d." % (result[b"source"], result[b"line"]) if result[b"source"] else b""
        return Failure(text_of((b"ERR unknown error" if text is None else text) + where))

    def _new_script(self, source: bytes) -> Script:
        if self._lua is None:
            self._start()
        flags, body = _parsed(source)
        function, problem = self._compile(body)
        if function is None:
            raise Refusal(f"ERR Error compiling script (new function): {text_of(problem)}")
        return Script(function, flags)

    def _start(self) -> None:
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        prelude = files("tests.simulation.redis").joinpath("prelude.lua").read_bytes()
        start = self._lua.eval(b"function(code) return assert(loadstring(code, '=prelude')) end")(prelude)
        functions: tuple[Callable[..., Any], ...] = (self._call, self._pcall, _failed_text, _sha1, self._pack)
        self._run, self._compile = start(*functions)

    def _call(self, *words: Any) -> Any:
        reply = self._execute(words)
        if type(reply) is Failure:
            raise ScriptFailure(reply.encode("utf-8", "surrogateescape"))
        return self._to_lua(reply)

    def _pcall(self, *words: Any) -> Any:
        return self._to_lua(self._execute(words))

    def _execute(self, words: Sequence[Any]) -> Reply:
        """Run one command of a script; return its reply, an error included."""
        try:
            for word in words:
                if type(word) is not bytes:
                    words = [_word(word) for word in words]
                    break
            found = COMMANDS.get(words[0]) if words else None
            if found is None or not found.least <= len(words) <= found.most:
                found = _find(words)
            if not found.in_scripts:
                raise Refusal("ERR This Valkey command is not allowed from script")
            if found.writes and self._flags is not None and b"no-writes" in self._flags:
                raise Refusal("ERR Write commands are not allowed from read-only scripts.")
            if self._flags is None and self.command_refusal is not None and (problem := self.command_refusal(found)):
                raise Refusal(problem)
            reply = found.run(self._keys, words)
            return NULL_ARRAY if isinstance(reply, Blocked) else reply
        except Refusal as refusal:
            return refusal.failure

    def _to_lua(self, reply: Any) -> Any:
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None or reply is NULL_ARRAY:
            return False
        if kind is list:
            to_lua = self._to_lua
            return self._lua.table_from([part if type(part) is bytes else to_lua(part) for part in reply])
        if kind is Simple or kind is Failure:
            return self._lua.table_from({b"ok" if kind is Simple else b"err": reply.encode("utf-8", "surrogateescape")})
        if isinstance(reply, bytes):
            return bytes(reply)
        return self._to_lua(list(reply))

    def _reply(self, value: Any) -> Reply:
        kind = type(value)
        if kind is bytes or value is None:
            return value  # type: ignore[no-any-return]  # checked above
        if kind is bool:
            return 1 if value else None
        if kind is int or kind is float:
            return int(value) if SMALLEST <= value <= -SMALLEST - 1 else SMALLEST
        if lua_type(value) != "table":
            return None
        for field, made in ((b"err", Failure), (b"ok", Simple)):
            if isinstance(text := value[field], bytes):
                return made(text_of(text))
        replies: list[Reply] = []
        while (part := value[len(replies) + 1]) is not None:
            replies.append(self._reply(part))
        return replies

    def _pack(self, value: Any) -> bytes:
        return pack(value if isinstance(value, bytes) else [value[at] for at in range(1, len(value) + 1)])


def _find(words: Sequence[bytes]) -> Command:
    if not words:
        raise Refusal("ERR Please specify at least one argument for this call")
    try:
        return find(words)
    except Refusal as refusal:
        if refusal.failure.startswith("ERR wrong number"):
            raise Refusal("ERR Wrong number of args calling command from script") from None
        if refusal.failure.startswith("ERR unknown command"):
            raise Refusal("ERR Unknown command called from script") from None
        raise


def _word(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is int or type(value) is float:
        return number_text(value)
    raise Refusal(NOT_WORDS)


def _failed_text(error: Any) -> bytes:
    """Return the text of the error that ended a ``redis.call``; any other exception is a mistake of the model."""
    if isinstance(error, ScriptFailure):
        return error.text
    raise error


def _sha1(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _parsed(source: bytes) -> tuple[frozenset[bytes] | None, bytes]:
    """Return the flags of the ``#!lua`` line, None without one, and the code from the end of that line."""
    if not source.startswith(b"#!"):
        return None, source
    line, end, code = source.partition(b"\n")
    if not end:
        raise Refusal("ERR Invalid script shebang")
    engine, *options = line[2:].split()
    if engine != b"lua":
        raise Refusal(f"ERR Could not find scripting engine '{text_of(engine)}'")
    flags: set[bytes] = set()
    for option in options:
        name, _, value = option.partition(b"=")
        if name != b"flags":
            raise Refusal(f"ERR Unknown lua shebang option: {text_of(option)}")
        flags.update(value.split(b","))
    for flag in sorted(flags - FLAGS):
        raise Refusal(f"ERR Unexpected flag in script shebang: {text_of(flag)}")
    return frozenset(flags), end + code


def _split(words: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the keys and the arguments of EVAL or EVALSHA."""
    count = integer(words[2])
    if count > len(words) - 3:
        raise Refusal("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise Refusal("ERR Number of keys can't be negative")
    return words[3 : 3 + count], words[3 + count :]


@add("eval", -3, in_scripts=False, while_loading=False, while_stale=True)
def eval_(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    names, arguments = _split(words)
    scripts: Scripts = keys.scripts
    script = scripts.find(scripts.load(words[1]))
    assert script is not None
    return scripts.run(script, names, arguments)


@add("evalsha", -3, in_scripts=False, while_loading=False, while_stale=True)
def evalsha(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    scripts: Scripts = keys.scripts
    if len(words[1]) != 40:
        raise Refusal(NO_SCRIPT)
    names, arguments = _split(words)
    script = scripts.find(words[1])
    if script is None:
        raise Refusal(NO_SCRIPT)
    return scripts.run(script, names, arguments)


@add("script|load", 3, in_scripts=False, while_stale=True)
def script_load(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return keys.scripts.load(words[2])  # type: ignore[no-any-return]  # `Scripts` returns bytes


@add("script|exists", -3, in_scripts=False, while_stale=True)
def script_exists(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    return [int(keys.scripts.find(digest) is not None) for digest in words[2:]]


@add("script|flush", -2, in_scripts=False, while_stale=True)
def script_flush(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    if [word.upper() for word in words[2:]] not in ([], [b"ASYNC"], [b"SYNC"]):
        raise Refusal("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    keys.scripts.clear()
    return OK
