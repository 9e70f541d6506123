"""The errors that a server answers for a while, each to the commands to which Redis answers it."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.simulation.redis.model import Model
from tests.simulation.redis.session import Session
from tests.simulation.redis.table import Command


@dataclass(frozen=True, slots=True)
class Under:
    """The commands that name a key with this prefix, as an ACL rule refuses them."""

    prefix: bytes


@dataclass(frozen=True, slots=True)
class Older:
    """The writes of the sessions up to this number: they lead to a server that is a replica now."""

    last: int


Which: TypeAlias = frozenset[str] | Under | Older | Literal["all", "writes"] | None
"""Commands by name in lower case (``xadd``, ``xgroup|create``), by their keys, all, those that write, or None: Redis's
own choice."""
NO_KEY = "NOPERM No permissions to access a key"

OOM = "OOM command not allowed when used memory > 'maxmemory'."
READONLY = "READONLY You can't write against a read only replica."
TEXTS = {
    "NOAUTH": "NOAUTH Authentication required.",
    "NOPERM": "NOPERM User default has no permissions to run the '{name}' command",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "OOM": OOM,
    "MISCONF": (
        "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. "
        "Commands that may modify the data set are disabled, because this instance is configured to report errors "
        "during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). "
        "Please check the Valkey logs for details about the RDB error."
    ),
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "READONLY": READONLY,
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "LOADING": "LOADING Valkey is loading the dataset in memory",
    "BUSY": "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
}
"""Each error by its code, in the order in which Redis looks for a reason to refuse a command."""

WITHOUT_KEYS = frozenset({"flushall", "info", "keys", "publish", "scan", "time"})
"""Commands of the data that name no key. The commands of a connection and SCRIPT name none either."""
BEFORE_LOGIN = frozenset({"auth", "hello"})
OF_REPLICAS = frozenset({"MASTERDOWN", "READONLY"})


class Faults:
    """The errors that the server answers now."""

    def __init__(self, model: Model, clock: Callable[[], float]) -> None:
        self._model = model
        self._clock = clock
        self._until: dict[str, float] = {}
        self._which: dict[str, Which] = {}
        self._is_lifted = False

    def begin(self, code: str, seconds: float | None, which: Which) -> None:
        """Answer an error from now on, for ``seconds`` or until `end`."""
        assert code in TEXTS, code
        self._until[code] = math.inf if seconds is None else self._clock() + seconds
        self._which[code] = which
        self._install()

    def end(self, code: str | None = None) -> None:
        """End one error, or all."""
        for ended in [code] if code else list(self._until):
            self._until.pop(ended, None)
        self._install()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Refuse nothing in this block."""
        self._is_lifted = True
        self._install()
        try:
            yield
        finally:
            self._is_lifted = False
            self._install()

    def _install(self) -> None:
        is_any = bool(self._until) and not self._is_lifted
        self._model.refusal = self._refusal if is_any else None
        self._model.scripts.refusal = self._script_refusal if is_any else None
        self._model.scripts.command_refusal = self._command_refusal if is_any else None

    def _now(self) -> list[str]:
        """Return the codes of the errors that are answered now, in Redis's order."""
        now = self._clock()
        for code in [code for code, until in self._until.items() if until <= now]:
            self.end(code)
        return [code for code in TEXTS if code in self._until]

    def _refusal(self, session: Session, command: Command, words: Sequence[bytes]) -> str:
        commands = [command]
        if command.name == "exec":
            commands += [queued for queued, _ in session.queued or ()]
        for code in self._now():
            which = self._which[code]
            if isinstance(which, Older) and session.id > which.last:
                continue
            if any(self._applies(code, each, words) for each in commands):
                if code == "MASTERDOWN" and any(each.writes for each in commands):
                    return READONLY
                return NO_KEY if isinstance(self._which[code], Under) else TEXTS[code].format(name=command.name)
        return ""

    def _applies(self, code: str, command: Command, words: Sequence[bytes]) -> bool:
        which = self._which[code]
        if which == "all":
            return command.name not in BEFORE_LOGIN
        if which == "writes":
            return command.writes
        if isinstance(which, Older):
            return command.writes or command.name in ("eval", "evalsha")
        if isinstance(which, Under):
            return any(key.startswith(which.prefix) for key in _keys_of(command, words))
        if which is not None:
            return command.name in which
        match code:
            case "NOAUTH" | "NOPERM":
                return command.name not in BEFORE_LOGIN
            case "CLUSTERDOWN":
                return _has_keys(command, words)
            case "OOM":
                return command.needs_memory
            case "MISCONF":
                return command.writes or command.name == "ping"
            case "NOREPLICAS" | "READONLY":
                return command.writes
            case "MASTERDOWN":
                # A script is checked when it runs: Redis first tells that it doesn't know one.
                return command.writes or not command.while_stale
            case "LOADING":
                return not command.while_loading
            case _:
                return not command.while_busy

    def _script_refusal(self, flags: frozenset[bytes] | None) -> str:
        """Return why a script may not run. Without ``no-writes`` in its ``#!lua`` line it counts as one that writes."""
        may_write = flags is not None and b"no-writes" not in flags
        for code in self._now():
            if code in OF_REPLICAS | {"MISCONF", "NOREPLICAS"} and may_write and self._concerns_scripts(code):
                return READONLY if code == "MASTERDOWN" else TEXTS[code]
            if code == "MASTERDOWN" and b"allow-stale" not in (flags or ()) and self._concerns_scripts(code):
                return TEXTS[code]
            if code == "OOM" and may_write and b"allow-oom" not in (flags or ()) and self._concerns_scripts(code):
                return OOM
        return ""

    def _concerns_scripts(self, code: str) -> bool:
        which = self._which[code]
        return not isinstance(which, frozenset | Under | Older)

    def _command_refusal(self, command: Command) -> str:
        for code in self._now():
            if isinstance(self._which[code], Older):
                continue  # its sessions run no scripts
            if code in ("OOM", "MISCONF", "NOREPLICAS", "READONLY") and self._applies(code, command, ()):
                return TEXTS[code]
        return ""


def _keys_of(command: Command, words: Sequence[bytes]) -> Sequence[bytes]:
    """Return the keys that a request names, as far as the project's commands name them in these places."""
    if command.name in ("eval", "evalsha"):
        return words[3 : 3 + int(words[2])] if len(words) > 2 else ()
    if command.name == "xread":
        streams = [word.upper() for word in words].index(b"STREAMS") + 1
        return words[streams : (streams + len(words)) // 2]
    return words[1:2] if _has_keys(command, words) else ()


def _has_keys(command: Command, words: Sequence[bytes]) -> bool:
    if command.name in ("eval", "evalsha"):
        return len(words) > 2 and words[2] != b"0"
    return not (command.of_connection or command.name in WITHOUT_KEYS or command.name.startswith("script|"))
