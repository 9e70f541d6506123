"""Check the settings that are addresses: which are refused, and that no error shows a password."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import addresses

PASSWORD = "Tr0ub4dor"


@pytest.mark.parametrize("url", [
    "redis://127.0.0.1", "redis://h:6379/2", "rediss://u:p%40%2F@h:6380/0?ssl_cert_reqs=none", "redis://[::1]:6379/0",
    "unix:///run/redis.sock?db=2", "unix://:p%40@/run/redis.sock", "redis://:p@ss:word@h/0", "redis://h?db=3",
    "rediss://h?ssl_ca_path=/etc/ssl/certs&socket_timeout=0.5", "valkey://h/1", "valkeys://u:p@h",
    "redis+sentinel://h/m", "redis+sentinel://u:p%40%2F@h:1,[::1]:2/m/3?sentinel_password=x&tls=1",
])  # fmt: skip
def test_good_redis_address_is_accepted(url: str) -> None:
    addresses.check_redis(url)


@pytest.mark.parametrize(("url", "hint"), [
    *((f"redis://u:{PASSWORD}{sign}x@h:6379/0", "%2F") for sign in "/#?[]"),
    ("redis://u:1/2x@h:6379/0", "%2F"),
    (f"redis://u:{PASSWORD}%x@h:6379/0", "%25"), (f"redis://u:{PASSWORD} x@h/0", "%20"),
    (f"redis://u:{PASSWORD}@h:http/0", "port"), (f"redis://u:{PASSWORD}@h:0/0", "port"),
    (f"redis://u:{PASSWORD}@h:65536/0", "port"), (f"redis://u:{PASSWORD}@/0", "host"), ("redis://", "host"),
    (f"redis://u:{PASSWORD}@h/first", "number"), (f"redis://u:{PASSWORD}@h/1/2", "number"),
    (f"redis://u:{PASSWORD}@h?db=x", "number"), (f"redis://h?passwort={PASSWORD}", "parameter 1"),
    (f"redis://h?password={PASSWORD}&x", "parameter 2"), (f"http://u:{PASSWORD}@h", "rediss://"),
    (f"redis+sentinel://u:{PASSWORD}@h:26379", "name of a master"), (f"redis+sentinel://u:{PASSWORD}@/m", "sentinel 1"),
    (f"redis+sentinel://u:{PASSWORD}@h:1,h:0/m", "sentinel 2"), (f"redis+sentinel://u:{PASSWORD}@h/m/x", "number"),
    (f"redis+sentinel://u:{PASSWORD}@h:{PASSWORD}/m", "sentinel 1"),
    (f"redis+sentinel://h/m?{PASSWORD}", "parameter 1"),
    (f"redis+sentinel://h/m?sentinel_password={PASSWORD}&tls=x", "tls"),
    (f"redis+sentinel://u:{PASSWORD}@h/m?ssl_ca_certs=/ca.pem", "tls=1"),
    (f"redis+sentinel://u:{PASSWORD}%x@h/m", "%25"),
    (f"redis+sentinel://u:{PASSWORD} @h/m", "%20"), (f"redis+sentinel://u:{PASSWORD}@h,/m", "sentinel 2"),
    (f"u:{PASSWORD}@h:6379", "redis://"), ("unix://", "path"), (f"redis://u:{PASSWORD}@h?socket_timeout=3s", "number"),
])  # fmt: skip
def test_bad_redis_address_is_refused_without_password(url: str, hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL: ") as caught:
        addresses.check_redis(url)
    assert hint in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(("url", "expected"), [
    ("", {"NAME": "/data of run/100%/db"}), ("sqlite:////a/b", {"NAME": "/a/b"}),
    ("sqlite://:memory:", {"NAME": ":memory:"}),
    ("postgres://u:p%40%2F%23@h:5433/n", {"USER": "u", "PASSWORD": "p@/#", "HOST": "h", "PORT": 5433, "NAME": "n"}),
    ("postgresql:///n", {"HOST": "", "NAME": "n"}), ("postgres://%2Frun%2Fpg/n", {"HOST": "/run/pg", "NAME": "n"}),
    ("postgres://h/n?sslmode=require", {"OPTIONS": {"sslmode": "require"}}),
])  # fmt: skip
def test_good_database_address_is_read(url: str, expected: dict[str, object]) -> None:
    found = addresses.database_of(url, Path("/data of run/100%/db"))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("url", "hint"), [
    *((f"postgres://u:{PASSWORD}{sign}x@h/n", "%2F") for sign in "/#?[]"),
    ("postgres://u:1/2x@h/n", "%2F"),
    (f"postgres://u:{PASSWORD}%x@h/n", "%25"), (f"postgres://u:{PASSWORD}@h:http/n", "port"),
    (f"postgres://u:{PASSWORD}@h", "name"), (f"mysql://u:{PASSWORD}@h/n", "postgres://"), (f"{PASSWORD}", "postgres://"),
    ("sqlite://", "file"), ("sqlite:///", "file"), ("sqlite://db.sqlite3", "file"),
])  # fmt: skip
def test_bad_database_address_is_refused_without_password(url: str, hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL: ") as caught:
        addresses.database_of(url, Path("/unused"))
    assert hint in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [
    ("https://App.Example.com/", ("https://app.example.com",)),
    ("https://app.example.com:443,http://app.example.com:80", ("https://app.example.com", "http://app.example.com")),
    ("https://app.example.com:8443", ("https://app.example.com:8443",)),
    ("https://bücher.example/", ("https://xn--bcher-kva.example",)),
    ("https://*.Bücher.example:8443", ("https://*.xn--bcher-kva.example:8443",)),
    ("https://*.example.com", ("https://*.example.com",)),
    ("https://[0:0::1]:8443", ("https://[::1]:8443",)),
    ("capacitor://localhost, file://, *", ("capacitor://localhost", "file://", "*")),
])  # fmt: skip
def test_origins_are_normalised(value: str, expected: tuple[str, ...]) -> None:
    assert addresses.origins_of(value) == expected


@pytest.mark.parametrize("origin", [
    "app.example.com", "https://", "https://app.example.com/chat", "https://app.example.com?x", "https://u@app.example.com",
    "https://app.example.com:http", "https://app.example.com:99999", "https://*", "https://*.com", "https://a.*.example.com",
    "https://a*.example.com", "https://*.*.example.com", "https://*.0.0.1", "null", "https://a b", "https://[::1",
    "https://-bücher..example",
])  # fmt: skip
def test_bad_origin_is_refused_by_name(origin: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CHATWS_ALLOWED_ORIGINS: ") as caught:
        addresses.origins_of(f"https://good.example,{origin}")
    assert repr(origin) in str(caught.value)


def test_hosts_are_normalised() -> None:
    given = "Chat.Example, .example.com, bücher.example, 127.0.0.1, [::1], *"
    assert addresses.hosts_of(given) == [
        "chat.example", ".example.com", "xn--bcher-kva.example", "127.0.0.1", "[::1]", "*",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["https://chat.example", "chat.example:8443", "chat.example/", "chat example", "a@b"])
def test_host_that_matches_no_request_is_refused(host: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CHATWS_ALLOWED_HOSTS: "):
        addresses.hosts_of(host)


@pytest.mark.parametrize("url", [
    f"http://issuer.example/{PASSWORD}", f"https://u:{PASSWORD}/x@issuer.example", "https://", f"https://h:{PASSWORD}/",
    "https://[/", "issuer.example",
])  # fmt: skip
def test_bad_key_set_address_is_refused_without_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CHATWS_JWT_JWKS_URL: ") as caught:
        addresses.key_set_of(url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(("path", "prefix"), [
    ("", ""), ("/", ""), ("/chat", "/chat"), ("chat/", "/chat"), ("/a/b.c/", "/a/b.c"), ("/api/chat", "/api/chat"),
])  # fmt: skip
def test_prefix_is_normalised(path: str, prefix: str) -> None:
    assert addresses.prefix_of(path) == prefix


@pytest.mark.parametrize("path", ["/api", "ws", "/admin/", "/a//b", "/..", "/a b", "/a?b", "/%61", "https://h/chat"])
def test_bad_prefix_is_refused(path: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^CHATWS_URL_PREFIX: "):
        addresses.prefix_of(path)
