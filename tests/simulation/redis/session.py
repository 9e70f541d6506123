"""One connection's state and the commands that change it: handshake, transactions, subscriptions, scripts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tests.simulation.redis import table
from tests.simulation.redis.keyspace import Keyspace
from tests.simulation.redis.numbers import integer
from tests.simulation.redis.replies import OK, SYNTAX_ERROR, Map, Refusal, Reply, Simple, text_of
from tests.simulation.redis.server_commands import VERSION
from tests.simulation.redis.table import Command

if TYPE_CHECKING:
    from tests.simulation.redis.model import Model

Run: TypeAlias = "Callable[[Model, Session, Sequence[bytes]], Reply]"

HANDLERS: dict[str, Run] = {}
"""The functions of the commands of a connection, by name."""
PRINTABLE = range(0x21, 0x7F)


class Session:
    """A connection to the model. ``push`` is called with each published message that it receives."""

    def __init__(self, model: "Model", number: int, push: Callable[[Reply], None]) -> None:
        self.model = model
        self.id = number
        self.push = push
        self.protocol = 2
        self.name = b""
        self.channels: dict[bytes, None] = {}
        self.queued: list[tuple[Command, Sequence[bytes]]] | None = None
        """The commands after MULTI; None outside a transaction."""
        self.is_aborted = False
        """A command of the transaction was refused when it was queued."""

    def close(self) -> None:
        """End the subscriptions of the connection."""
        self.model.channels.unsubscribe_all(self)
        self.queued = None


def _unreachable(keys: Keyspace, words: Sequence[bytes]) -> Reply:
    raise AssertionError("the session runs this command")


def add(
    name: str, arity: int, *, writes: bool = False, in_scripts: bool = False, while_loading: bool = True,
    while_stale: bool = True, while_busy: bool = False,
) -> Callable[[Run], Run]:  # fmt: skip
    """Add the function below to the commands of a connection."""

    def added(run: Run) -> Run:
        HANDLERS[name] = run
        table.add(
            name, arity, writes=writes, of_connection=True, in_scripts=in_scripts, while_loading=while_loading,
            while_stale=while_stale, while_busy=while_busy,
        )(_unreachable)  # fmt: skip
        return run

    return added


@add("wait", 3, in_scripts=True, while_loading=False, while_stale=False)
def wait(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    """There are no replicas; it does not wait for them either."""
    integer(words[1])
    if integer(words[2], "ERR timeout is not an integer or out of range") < 0:
        raise Refusal("ERR timeout is negative")
    return 0


@add("ping", -1, while_loading=False, while_stale=False)
def ping(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    if len(words) > 2:
        raise table.wrong_count("ping")
    if session.protocol == 2 and session.channels:
        return [b"pong", words[1] if len(words) == 2 else b""]
    return words[1] if len(words) == 2 else Simple("PONG")


@add("hello", -1, while_busy=True)
def hello(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    protocol, at, name = session.protocol, 2, None
    if len(words) > 1:
        protocol = integer(words[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
    while at < len(words):
        option = words[at].upper()
        if option == b"AUTH" and at + 2 < len(words):
            _check_user(words[at + 1])
            at += 3
        elif option == b"SETNAME" and at + 1 < len(words):
            name, at = _valid_name(words[at + 1], "Client names"), at + 2
        else:
            raise Refusal(f"ERR Syntax error in HELLO option '{text_of(words[at])}'")
    session.protocol, session.name = protocol, session.name if name is None else name
    module = Map([b"name", b"lua", b"ver", 1, b"path", b"lua", b"args", []])
    return Map([
        b"server", b"valkey", b"version", VERSION, b"proto", protocol, b"id", session.id, b"mode", b"standalone",
        b"role", b"master", b"modules", [module],
    ])  # fmt: skip


@add("auth", -2, while_busy=True)
def auth(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    """AUTH is accepted with any password of the default user, who needs none."""
    if len(words) > 3:
        raise Refusal(SYNTAX_ERROR)
    if len(words) == 2:
        raise Refusal(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _check_user(words[1])
    return OK


def _check_user(name: bytes) -> None:
    if name != b"default":
        raise Refusal("WRONGPASS invalid username-password pair or user is disabled.")


@add("client|id", 2, while_busy=True)
def client_id(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    return session.id


@add("client|setname", 3, while_busy=True)
def client_setname(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    session.name = _valid_name(words[2], "Client names")
    return OK


@add("client|getname", 2, while_busy=True)
def client_getname(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    return session.name or None


@add("client|setinfo", 4, while_busy=True)
def client_setinfo(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    if words[2].upper() not in (b"LIB-NAME", b"LIB-VER"):
        raise Refusal(f"ERR Unrecognized option '{text_of(words[2])}'")
    _valid_name(words[3], text_of(words[2]))
    return OK


def _valid_name(name: bytes, what: str) -> bytes:
    if not all(byte in PRINTABLE for byte in name):
        raise Refusal(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


@add("select", 2, while_busy=True)
def select(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    """SELECT: the model has one database, as a server with ``databases 1``."""
    if integer(words[1]):
        raise Refusal("ERR DB index is out of range")
    return OK


@add("multi", 1, while_busy=True)
def multi(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    session.queued, session.is_aborted = [], False
    return OK


@add("discard", 1, while_busy=True)
def discard(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    if session.queued is None:
        raise Refusal("ERR DISCARD without MULTI")
    session.queued = None
    return OK


@add("exec", 1)
def exec_(model: "Model", session: Session, words: Sequence[bytes]) -> Reply:
    queued, session.queued = session.queued, None
    if queued is None:
        raise Refusal("ERR EXEC without MULTI")
    if session.is_aborted:
        raise Refusal("EXECABORT Transaction discarded because of previous errors.")
    return [model.run(session, command, queued_words) for command, queued_words in queued]
