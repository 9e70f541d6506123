"""Check `deploy/` against the code (variables, commands, ports, files, metrics) and against its readers: Kubernetes'
schemas, systemd, nginx, PromQL."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml

from config.env import BASE_DIR, Environment
from tests.support.scrape import OURS

DEPLOY = BASE_DIR / "deploy"
VARIABLES = {
    *Environment.__struct_encode_fields__,
    "DJANGO_SETTINGS_MODULE",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "POSTGRES_DB",
}
COMMANDS = {
    path.stem for folder in ("realtime", "chatws", "chatws/reference")
    for path in (BASE_DIR / folder / "management/commands").glob("[a-z]*.py")
} | {"migrate", "collectstatic"}  # fmt: skip
METRICS = set(
    chain.from_iterable(
        [f"{name}_total"] if kind == "counter" else [f"{name}_bucket"] if kind == "histogram" else [name]
        for name, kind in OURS
    )
)


def check_command(command: list[str]) -> None:
    """Check that a command of a container or unit exists."""
    assert command[0].endswith("python")
    if command[1] == "manage.py":
        assert command[2] in COMMANDS, command
    elif command[1] == "-m":
        assert command[2] == "realtime.server"
        assert command[-1] == "config.asgi:application"


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"chatws_\w+", expression))


def test_dockerfile_copies_existing_files_and_drops_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in steps} <= known
    for name, rest in steps:
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (BASE_DIR / source).exists(), source
        if name == "RUN":
            for variable in re.findall(r"\b([A-Z_]{4,})=", rest):
                assert variable in VARIABLES, variable
    assert [rest for name, rest in steps if name == "USER"] == ["10001"]
    check_command(json.loads(next(rest for name, rest in steps if name == "CMD")))
    needed = {"config", "realtime", "chatws", "manage.py"}
    assert needed <= set(re.findall(r"[\w.]+", " ".join(rest for name, rest in steps if name == "COPY")))


def test_compose_starts_existing_commands() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert {"gateway", "relay", "rpc", "valkey", "postgres", "nginx", "migrate"} == services.keys()
    for service in services.values():
        assert set(service.get("environment", {})) <= VARIABLES
        if service["image"] == "chatws" and "command" in service:
            check_command(service["command"])
        for name in service.get("depends_on", {}):
            assert name in services
    assert set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text())) <= VARIABLES
    for volume in services["nginx"]["volumes"]:
        source = volume.partition(":")[0]
        assert source == "./certificates" or (DEPLOY / source).exists()
    assert "noeviction" in services["valkey"]["command"]


def containers(document: Any) -> list[dict[str, Any]]:
    """Return all containers of a Kubernetes document."""
    if isinstance(document, dict):
        own: list[dict[str, Any]] = document.get("containers", [])
        return own + [found for value in document.values() for found in containers(value)]
    return []


def test_kubernetes_probes_served_paths() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/chatws.yaml").read_text()))
    kinds = [document["kind"] for document in documents]
    assert sorted(set(kinds)) == [
        "ConfigMap", "CronJob", "Deployment", "Job", "PodDisruptionBudget", "Service",
    ]  # fmt: skip
    assert set(documents[0]["data"]) <= VARIABLES
    for document in documents:
        for container in containers(document):
            if "command" in container:
                check_command(container["command"])
            ports = {port["name"] for port in container.get("ports", [])}
            paths = {"readinessProbe": "/ready", "livenessProbe": "/health", "startupProbe": "/startup"}
            for probe in paths.keys() & container.keys():
                asked = container[probe]["httpGet"]
                assert asked["port"] in ports
                assert asked["path"] == paths[probe]
    gateway = next(d for d in documents if d["metadata"]["name"] == "chatws-gateway" and d["kind"] == "Deployment")
    grace = gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    drain = Environment().chatws_drain_seconds + float(documents[0]["data"]["CHATWS_DRAIN_DELAY"])
    assert grace > drain + 5, "the kernel's kill would come before the last connection was closed"


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_units_start_existing_commands(unit: Path) -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's documentation has it
    parsed.read_string(unit.read_text())
    assert parsed.sections() == ["Unit", "Service", "Install"]
    command = shlex.split(parsed["Service"]["ExecStart"])
    assert command[0].startswith(parsed["Service"]["WorkingDirectory"])
    check_command(command)
    if "gateway" in unit.name:
        assert int(parsed["Service"]["TimeoutStopSec"]) > Environment().chatws_drain_seconds + 5


def missing(program: str) -> bool:
    """Return whether a program is missing; fail in CI, which must have it."""
    is_missing = shutil.which(program) is None
    assert not (is_missing and os.environ.get("CI")), f"CI has no {program}"
    return is_missing


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if missing("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    units = []
    for unit in (DEPLOY / "systemd").iterdir():
        units.append(tmp_path / unit.name)
        text = unit.read_text()
        units[-1].write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "chatws-" in line]
    assert (done.returncode, ours) == (0, [])


def test_kubernetes_accepts_the_manifests() -> None:
    latest = kubernetes_validate.latest_version()
    for document in yaml.safe_load_all((DEPLOY / "kubernetes/chatws.yaml").read_text()):
        kubernetes_validate.validate(document, latest, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "spec": {"no": "such key"}}, latest, strict=True)


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


def test_nginx_passes_on_the_headers_a_gateway_needs() -> None:
    text = (DEPLOY / "nginx/chatws.conf").read_text()
    assert text.count("{") == text.count("}")
    for header in ("Host", "Upgrade", "Connection", "X-Forwarded-For", "X-Forwarded-Proto"):
        assert f"proxy_set_header {header} " in text
    assert "$request " not in text, "the address may hold a token"
