"""Read the form of `REDIS_URL` that names sentinels.

``redis+sentinel://[user:password@]host[:port],host[:port]…/<master>[/<database>]``, with ``sentinel_user``,
``sentinel_password``, ``tls`` and ``ssl_ca_certs`` as parameters. User and password are those of the master.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

SENTINEL = "redis+sentinel://"
SENTINEL_PORT = 26379
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\s]+)(?::([0-9]{1,5}))?")
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where to ask for a master, and how to connect to it and to the sentinels: redis-py's options."""

    places: tuple[tuple[str, int], ...]
    master: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """The master's name and the sentinels, for messages."""
        return f"{self.master} of the sentinels {','.join(f'{host}:{port}' for host, port in self.places)}"


def sentinels_of(url: str) -> Sentinels | None:
    """Return the sentinels that a URL names; None for one of another form.

    Raises:
        ValueError: it begins as the form of sentinels and is not; the text shows nothing of a password.
    """
    if not url.startswith(SENTINEL):
        return None
    rest, _, query = url.removeprefix(SENTINEL).partition("?")
    login, has_login, rest = rest.rpartition("@")
    places, _, path = rest.partition("/")
    master, _, database = path.partition("/")
    if not master or "/" in database:
        raise ValueError("no name of a master, as in redis+sentinel://host:26379,host:26379/mymaster/0")
    if database and not (database.isascii() and database.isdigit() and int(database) < 2**31):
        raise ValueError("the database is not a number, as in redis+sentinel://host:26379/mymaster/0")
    given = _parameters(query)
    user, _, password = login.partition(":") if has_login else ("", "", "")
    options: dict[str, Any] = {"db": int(database or 0)}
    of_sentinels: dict[str, Any] = {}
    _add_login(options, unquote(user), unquote(password))
    _add_login(of_sentinels, given.get("sentinel_user", ""), given.get("sentinel_password", ""))
    if given.get("tls", "") in _TRUE:
        tls = {"ssl": True} | {name: value for name, value in given.items() if name == "ssl_ca_certs"}
        options |= tls
        of_sentinels |= tls
    found = tuple(_place(number, text) for number, text in enumerate(places.split(","), 1))
    return Sentinels(found, unquote(master), options, of_sentinels)


def _parameters(query: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    for number, name in enumerate(given, 1):
        if name not in ("sentinel_user", "sentinel_password", "tls", "ssl_ca_certs"):
            raise ValueError(f"parameter {number} after the ? is unknown")
    if given.get("tls", "") not in (*_TRUE, *_FALSE):
        raise ValueError("tls is neither 1 nor 0")
    if "ssl_ca_certs" in given and given.get("tls", "") not in _TRUE:
        raise ValueError("ssl_ca_certs needs tls=1")
    return given


def _add_login(options: dict[str, Any], user: str, password: str) -> None:
    if user:
        options["username"] = user
    if password:
        options["password"] = password


def _place(number: int, text: str) -> tuple[str, int]:
    found = _PLACE.fullmatch(text)
    port = int(found[2] or SENTINEL_PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise ValueError(f"sentinel {number} is no host with a port, as in host:26379")
    return found[1].strip("[]"), port
