"""The table of commands: each one's function, how many arguments it takes, and what kind of command it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.replies import Blocked, Refusal, Reply, text_of

Run: TypeAlias = Callable[[Keyspace, Sequence[bytes]], Reply | Blocked]

ANY_NUMBER = 2**31


@dataclass(slots=True)
class Command:
    """A command, or a subcommand such as ``xinfo|stream``."""

    name: str
    run: Run
    arity: int
    """The number of words, the name included; the least number if it is negative."""
    writes: bool = False
    needs_memory: bool = False
    """Redis refuses it while it is out of memory."""
    of_connection: bool = False
    """It changes the connection, so `tests.simulation.redis.session` runs it."""
    in_scripts: bool = True
    while_loading: bool = False
    while_stale: bool = False
    while_busy: bool = False
    subcommands: "dict[bytes, Command]" = field(default_factory=dict)
    least: int = field(init=False)
    """The least number of words, and the largest; a command with subcommands has none, so that `find` is asked."""
    most: int = field(init=False)

    def __post_init__(self) -> None:
        self.least, self.most = abs(self.arity), self.arity if self.arity > 0 else ANY_NUMBER


COMMANDS: dict[bytes, Command] = {}
"""All commands, by name in upper case."""


def add(
    name: str, arity: int, *, writes: bool = False, needs_memory: bool = False, of_connection: bool = False,
    in_scripts: bool = True, while_loading: bool = False, while_stale: bool = False, while_busy: bool = False,
) -> Callable[[Run], Run]:  # fmt: skip
    """Add the function below to the table. The name of a subcommand is ``xinfo|stream``."""

    def added(run: Run) -> Run:
        command = Command(
            name, run, arity, writes, needs_memory, of_connection, in_scripts, while_loading, while_stale, while_busy
        )
        parent, _, child = name.encode().upper().partition(b"|")
        if not child:
            COMMANDS[parent] = command
            return run
        if parent not in COMMANDS:
            COMMANDS[parent] = Command(parent.decode().lower(), _never, -2)
        COMMANDS[parent].subcommands[child] = command
        COMMANDS[parent].most = 0
        return run

    return added


def _never(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    raise AssertionError("a command with subcommands has no function of its own")


def find(words: Sequence[bytes]) -> Command:
    """Return the command of a request; raise `Refusal` if it is unknown or has too few or too many words."""
    command = COMMANDS.get(words[0]) or COMMANDS.get(words[0].upper())
    if command is None:
        raise Refusal(_unknown(words))
    if command.subcommands and len(words) > 1:
        parent = command.name.upper()
        command = command.subcommands.get(words[1].upper())
        if command is None:
            raise Refusal(f"ERR unknown subcommand '{text_of(words[1][:128])}'. Try {parent} HELP.")
    if not command.least <= len(words) <= command.most:
        raise wrong_count(command.name)
    return command


def wrong_count(name: str) -> Refusal:
    """Return the error for a wrong number of arguments."""
    return Refusal(f"ERR wrong number of arguments for '{name}' command")


def _unknown(words: Sequence[bytes]) -> str:
    shown = ""
    for word in words[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{text_of(word[: 128 - len(shown)])}' "
    return f"ERR unknown command '{text_of(words[0][:128])}', with args beginning with: {shown}"
