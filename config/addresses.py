"""Check the settings that are addresses. An error is one line, names the setting and shows no password."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config.env import list_of
from realtime.connection.origins import ANY, normalised
from realtime.redis.addresses import sentinels_of

RESERVED = "a / ? # [ ] @ : or % in a user or password is written %2F %3F %23 %5B %5D %40 %3A %25"
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABELS = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")

OWN_PATHS = {
    "admin", "api", "docs", "favicon.ico", "health", "metrics", "ready", "startup", "static", "stats", "ws",
}  # fmt: skip
_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")

REDIS_SCHEMES = "redis", "rediss", "valkey", "valkeys", "unix", "redis+sentinel"
_WHOLE, _DECIMAL = re.compile(r"[0-9]{1,9}"), re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
REDIS_NUMBERS = {
    **dict.fromkeys(("protocol", "max_connections", "health_check_interval", "ssl_min_version"), _WHOLE),
    **dict.fromkeys(("timeout", "socket_timeout", "socket_connect_timeout"), _DECIMAL),
}
REDIS_OPTIONS = REDIS_NUMBERS.keys() | {
    "db", "username", "password", "client_name", "socket_keepalive", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data",
    "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_ciphers", "ssl_password",
}  # fmt: skip
DATABASE_SCHEMES = "postgres", "postgresql", "pgsql", "sqlite"


def split_url(setting: str, url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Split a URL that may contain a password.

    Raises:
        ImproperlyConfigured: it is not a URL with one of these schemes, or its parts are ambiguous.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ImproperlyConfigured(f"{setting}: it does not begin with {' or '.join(f'{one}://' for one in schemes)}")
    _check_signs(setting, rest)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may show a part of the password
        raise ImproperlyConfigured(f"{setting}: host and port can't be told; {RESERVED}") from None
    if port == 0 or (parts.netloc and "@" in rest.removeprefix(parts.netloc)):
        raise ImproperlyConfigured(f"{setting}: host and port can't be told; {RESERVED}")
    if parts.fragment:
        raise ImproperlyConfigured(f"{setting}: nothing may follow a #; {RESERVED}")
    return parts


def _check_signs(setting: str, text: str) -> None:
    if re.search(r"\s", text):
        raise ImproperlyConfigured(f"{setting}: it contains white space; within a password that is %20")
    if _BAD_PERCENT.search(text):
        raise ImproperlyConfigured(f"{setting}: a % is not followed by two hexadecimal digits; {RESERVED}")


def check_redis(url: str) -> None:
    """Check `REDIS_URL`.

    Raises:
        ImproperlyConfigured: Redis can't be reached by it.
    """
    try:
        has_sentinels = sentinels_of(url) is not None
    except ValueError as error:
        raise ImproperlyConfigured(f"REDIS_URL: {error}; {RESERVED}") from None
    if has_sentinels:
        _check_signs("REDIS_URL", url)
        return
    parts = split_url("REDIS_URL", url, REDIS_SCHEMES)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for number, name in enumerate(options, 1):
        if name not in REDIS_OPTIONS:  # the message does not show it: it may be the rest of a password
            raise ImproperlyConfigured(f"REDIS_URL: parameter {number} after the ? is unknown; {RESERVED}")
        if name in REDIS_NUMBERS and options[name] and not REDIS_NUMBERS[name].fullmatch(options[name]):
            raise ImproperlyConfigured(f"REDIS_URL: {name} is no valid number")
    database = options.get("db", "0")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ImproperlyConfigured("REDIS_URL: no path of a socket, as in unix:///run/redis.sock?db=0")
    else:
        if not parts.hostname:
            raise ImproperlyConfigured(f"REDIS_URL: no host, as in redis://host:6379/0; {RESERVED}")
        database = options.get("db") or unquote(parts.path).strip("/") or "0"
    if not (database.isascii() and database.isdigit() and int(database) < 2**31):
        raise ImproperlyConfigured("REDIS_URL: the database is not a number, as in redis://host:6379/0")


def database_of(url: str, sqlite: Path) -> dict[str, Any]:
    """Return Django's settings of the database at `DATABASE_URL`; unset: of the SQLite file.

    Raises:
        ImproperlyConfigured: it names no database of a supported kind.
    """
    url = url or f"sqlite:///{quote(str(sqlite))}"
    if url.startswith("sqlite://"):
        if url != "sqlite://:memory:" and len(url.removeprefix("sqlite:///")) in (0, len(url)):
            raise ImproperlyConfigured("DATABASE_URL: no file, as in sqlite:////var/lib/chatws/db.sqlite3")
    elif not split_url("DATABASE_URL", url, DATABASE_SCHEMES).path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL: no name of a database, as in postgres://user@host/name")
    try:
        return dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    except (ValueError, dj_database_url.ParseError):
        raise ImproperlyConfigured(f"DATABASE_URL: it can't be read; {RESERVED}") from None


def origins_of(value: str) -> tuple[str, ...]:
    """Return the normalised origins of `CHATWS_ALLOWED_ORIGINS`.

    Raises:
        ImproperlyConfigured: one is not an origin, or allows too much; the message names it.
    """
    return tuple(_origin(one) for one in list_of(value))


def _origin(text: str) -> str:
    if text == ANY:
        return ANY
    try:
        if text.lower() == "null":
            raise ValueError("every site can make a page of this origin")
        origin = normalised(_to_ascii(text))
        host = origin.partition("://")[2]
        if "*" in host and (host.count(".") < 2 or host.rpartition(".")[2].isdigit()):
            raise ValueError("a wildcard needs a domain of two labels behind it, as in https://*.example.com")
    except ValueError as error:
        hint = "" if "://" in text or text.lower() == "null" else f"; is https://{text} meant?"
        raise ImproperlyConfigured(f"CHATWS_ALLOWED_ORIGINS: {text!r}: {error}{hint}") from None
    return origin


def hosts_of(value: str) -> list[str]:
    """Return the names of `CHATWS_ALLOWED_HOSTS`, as a request's `Host` has them.

    Raises:
        ImproperlyConfigured: one can match no host; the message names it.
    """
    return [_host(one) for one in list_of(value)]


def _host(text: str) -> str:
    name = text.strip().lower()
    if "://" in name or "/" in name or "@" in name or re.search(r"[^\]:]:\d*$", name):
        raise ImproperlyConfigured(
            f"CHATWS_ALLOWED_HOSTS: {text!r}: a host name without scheme, port and path is needed"
        )
    if name == ANY or name.startswith("["):
        return name
    try:
        ascii_name = _to_ascii(name)
    except ValueError as error:
        raise ImproperlyConfigured(f"CHATWS_ALLOWED_HOSTS: {text!r}: {error}") from None
    if "*" not in name and not _LABELS.fullmatch(ascii_name.removeprefix(".")):
        raise ImproperlyConfigured(f"CHATWS_ALLOWED_HOSTS: {text!r}: not a host name")
    return ascii_name


def _to_ascii(text: str) -> str:
    """Return an origin or host name with its international labels in Punycode, as browsers send them."""
    if text.isascii():
        return text
    import idna  # here: its tables are large, and most names are ASCII

    scheme, separator, host = text.rpartition("://")
    prefix, port = "", ""
    for wildcard in ("*.", "."):
        if host.startswith(wildcard):
            prefix, host = wildcard, host.removeprefix(wildcard)
    if found := re.fullmatch(r"(.*?)(:\d+)?/?", host):
        host, port = found[1], found[2] or ""
    try:
        name = idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"not a host name: {error}") from None
    return f"{scheme}{separator}{prefix}{name}{port}"


def key_set_of(url: str) -> str:
    """Check and return `CHATWS_JWT_JWKS_URL`, which may be empty.

    Raises:
        ImproperlyConfigured: it is not a URL with https, or with http to this machine.
    """
    if not url:
        return ""
    parts = split_url("CHATWS_JWT_JWKS_URL", url, ("https", "http"))
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or (parts.scheme != "https" and not is_local):
        raise ImproperlyConfigured("CHATWS_JWT_JWKS_URL: not an https:// address")
    return url


def prefix_of(path: str) -> str:
    """Return `CHATWS_URL_PREFIX` with a slash before it and none behind, or an empty text.

    Raises:
        ImproperlyConfigured: it is no path, or the gateway has that path itself.
    """
    segments = path.strip("/").split("/")
    if segments == [""]:
        return ""
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ImproperlyConfigured(
            f"CHATWS_URL_PREFIX: {path!r}: it is a path of letters, digits and -._~, as in /chat"
        )
    if len(segments) == 1 and segments[0] in OWN_PATHS:
        raise ImproperlyConfigured(f"CHATWS_URL_PREFIX: {path!r}: the gateway has a path of this name itself")
    return "/" + "/".join(segments)
