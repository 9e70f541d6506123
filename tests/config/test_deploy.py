"""Check the image, compose, nginx, alerts and dashboard of `deploy/` against the code and against their readers."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from config.env import BASE_DIR, Environment
from tests.support.deploy import DEPLOY, VARIABLES, check_command
from tests.support.postgres import PostgresServer
from tests.support.scrape import OURS

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS_BY_NAME = {name: service for name, service in SERVICES.items() if service["image"] == "chatws"}
METRICS = set(
    chain.from_iterable(
        [f"{name}_total"] if kind == "counter" else [f"{name}_bucket"] if kind == "histogram" else [name]
        for name, kind in OURS
    )
)


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"chatws_\w+", expression))


def steps() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, with what follows each."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line]


def copied() -> list[str]:
    """Return the files and folders of the project that get into the image."""
    lines = [rest.split() for name, rest in steps() if name == "COPY" and not rest.startswith("--from")]
    return [source for line in lines for source in line[:-1]]


def test_image_is_built_from_what_exists_and_drops_root() -> None:
    known = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in steps()} <= known
    allowed = set(re.findall(r"^!(\S+)$", (BASE_DIR / ".dockerignore").read_text(), re.MULTILINE))
    assert set(copied()) == allowed, "nothing else is sent to the builder"
    for source in allowed:
        assert (BASE_DIR / source).exists(), source
    [user] = [rest for name, rest in steps() if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes can't tell from a name that it isn't root"
    check_command(json.loads(next(rest for name, rest in steps() if name == "CMD")))
    assert {"config", "realtime", "chatws", "manage.py"} <= allowed


def test_image_collects_its_files_without_a_secret(tmp_path: Path) -> None:
    for source in copied():
        whole = BASE_DIR / source
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, tmp_path / source)
    [step] = [rest for name, rest in steps() if name == "RUN" and "collectstatic" in rest]
    assert set(re.findall(r"\b([A-Z_]{4,})=", step)) <= VARIABLES
    environment = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", step], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "staticfiles/staticfiles.json").exists()


def test_compose_starts_existing_commands() -> None:
    everything = {"gateway", "admin", "relay", "rpc", "valkey", "postgres", "nginx", "migrate"}
    assert everything == SERVICES.keys()
    for service in SERVICES.values():
        assert set(service.get("environment", {})) <= VARIABLES
        if service["image"] == "chatws" and "command" in service:
            check_command(service["command"])
        for name in service.get("depends_on", {}):
            assert name in SERVICES
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source == "./certificates" or (DEPLOY / source).exists()
    assert "noeviction" in SERVICES["valkey"]["command"]
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace > Environment().chatws_drain_seconds + 5
    assert SERVICES["gateway"]["ulimits"]["nofile"]["soft"] > Environment().chatws_max_connections
    for service in OURS_BY_NAME.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_compose_trims_the_topics_of_its_chat_service() -> None:
    for service in OURS_BY_NAME.values():
        assert service["environment"]["CHATWS_RPC_TARGET"] == "rpc:9003"
        assert service["environment"]["CHATWS_OWN_TOPICS"] == "1", "nobody else would trim them"


def test_compose_trusts_its_nginx_alone() -> None:
    address = SERVICES["nginx"]["networks"]["front"]["ipv4_address"]
    assert OURS_BY_NAME["gateway"]["environment"]["CHATWS_TRUSTED_PROXIES"] == address
    own = COMPOSE["networks"]["front"]["ipam"]["config"][0]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(own["subnet"])
    assert ipaddress.ip_address(address) not in ipaddress.ip_network(own["ip_range"]), "another container could get it"
    assert {name for name, service in SERVICES.items() if "front" in service["networks"]} == {
        "nginx", "gateway", "admin",
    }  # fmt: skip
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]


def test_compose_runs_the_admin_apart() -> None:
    modes = {name: service["environment"]["CHATWS_ADMIN"] for name, service in OURS_BY_NAME.items()}
    assert {name for name, mode in modes.items() if mode != "off"} == {"admin"}
    assert modes["admin"] == "only"


def test_compose_puts_no_url_together() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) <= VARIABLES
    assert not re.search(r"://\S*\$", text), "a / or @ in a password would break the URL"


def test_database_accepts_any_password_beside_its_url() -> None:
    server = PostgresServer()
    password = "a/b@c:d%e#f?g"
    asked = "import django; django.setup(); from django.db import connection; connection.ensure_connection()"
    try:
        server.start()
        url = server.fresh_database()
        server.require_password(password)
        environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings.test"}
        for given, status in ((password, 0), ("another", 1)):
            command = [sys.executable, "-c", asked]
            done = subprocess.run(
                command, cwd=BASE_DIR, env={**environment, "PGPASSWORD": given}, capture_output=True, text=True
            )
            assert done.returncode == status, done.stderr
    finally:
        server.stop()


def test_nginx_passes_on_the_headers_a_gateway_needs() -> None:
    text = (DEPLOY / "nginx/nginx.conf").read_text()
    for header in ("Host", "Upgrade", "Connection", "X-Forwarded-For", "X-Forwarded-Proto"):
        assert len(re.findall(rf"proxy_set_header {header} ", text)) == 1
    assert "$request " not in text, "the address may hold a token"
    for service in re.findall(r"set \$\w+ (\w+):8889;", text):
        assert service in SERVICES


def test_prometheus_accepts_every_expression() -> None:
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    expressions = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    for panel in json.loads((DEPLOY / "grafana/chatws.json").read_text())["panels"]:
        expressions += [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]
    for expression in expressions:
        promql_parser.parse(expression)
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum(rate(chatws_gaps_total[5m])")


def test_alerts_and_dashboard_use_existing_metrics() -> None:
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    for rule in rules:
        assert metrics_of(rule["expr"]), rule["alert"]
        assert metrics_of(rule["expr"]) <= METRICS, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
    dashboard = json.loads((DEPLOY / "grafana/chatws.json").read_text())
    shown = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert metrics_of(target["expr"]) <= METRICS, panel["title"]
            shown |= metrics_of(target["expr"])
    unseen = METRICS - shown - {metric for rule in rules for metric in metrics_of(rule["expr"])}
    assert unseen == {
        "chatws_feeds", "chatws_received_bytes_total", "chatws_sent_bytes_total", "chatws_outbox_dropped_total",
        "chatws_position_checks_total", "chatws_reference_seconds_bucket",
    }  # fmt: skip
