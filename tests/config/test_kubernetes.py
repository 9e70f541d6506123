"""Check `deploy/kubernetes` against the code, Kubernetes' schemas, and what a second `apply` may change."""

import ipaddress
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.env import Environment
from tests.support.deploy import DEPLOY, VARIABLES, check_command

PROBES = {"readinessProbe": "/ready", "livenessProbe": "/health", "startupProbe": "/startup"}
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes/chatws.yaml").read_text()))
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())


def found(kind: str, name: str) -> dict[str, Any]:
    """Return a document."""
    [document] = [each for each in DOCUMENTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return document


def pods(document: Any) -> list[dict[str, Any]]:
    """Return all specs of pods in a document."""
    if not isinstance(document, dict):
        return []
    return [document] * ("containers" in document) + [pod for value in document.values() for pod in pods(value)]


PODS = [(document["metadata"]["name"], pod) for document in DOCUMENTS for pod in pods(document)]


def test_schemas_accept_the_manifests() -> None:
    latest = kubernetes_validate.latest_version()
    for document in DOCUMENTS:
        kubernetes_validate.validate(document, latest, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**DOCUMENTS[-1], "spec": {"no": "such key"}}, latest, strict=True)


def test_variables_commands_and_probes_exist() -> None:
    assert set(found("ConfigMap", "chatws")["data"]) <= VARIABLES
    for _, pod in PODS:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if "command" in container:
                check_command(container["command"])
            assert {variable["name"] for variable in container.get("env", [])} <= VARIABLES
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in PROBES.keys() & container.keys():
                asked = container[probe]["httpGet"]
                assert asked["port"] in ports
                assert asked["path"] == PROBES[probe]
    gateway = found("Deployment", "chatws-gateway")["spec"]["template"]["spec"]
    assert PROBES.keys() <= gateway["containers"][0].keys()


def test_grace_period_covers_the_drain() -> None:
    gateway = found("Deployment", "chatws-gateway")["spec"]["template"]["spec"]
    delay = float(found("ConfigMap", "chatws")["data"]["CHATWS_DRAIN_DELAY"])
    drain = Environment().chatws_drain_seconds + delay
    assert gateway["terminationGracePeriodSeconds"] > drain + 5, "killed before the last connection was closed"


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_pods_run_without_rights(name: str, pod: dict[str, Any]) -> None:
    rights = pod["securityContext"]
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert (rights["runAsNonRoot"], rights["runAsUser"], rights["runAsGroup"]) == (True, int(user[1]), int(user[2]))
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_deployments_wait_for_the_migration() -> None:
    for document in DOCUMENTS:
        if document["kind"] == "Deployment":
            [first] = document["spec"]["template"]["spec"]["initContainers"]
            assert first["command"][2:] == ["migrate", "--check"]
    assert "migrate" in found("Job", "chatws-migrate-version")["spec"]["template"]["spec"]["containers"][0]["command"]


def test_migration_job_is_named_by_the_release() -> None:
    [replacement] = KUSTOMIZATION["replacements"]
    assert replacement["source"]["name"] == found("Job", "chatws-migrate-version")["metadata"]["name"]
    [target] = replacement["targets"]
    assert (target["select"], target["fieldPaths"]) == ({"kind": "Job"}, ["metadata.name"])
    if shutil.which("kubectl") is None:
        return
    folder = DEPLOY / "kubernetes"
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [image] = KUSTOMIZATION["images"]
    made = list(yaml.safe_load_all(done.stdout))
    assert [each["metadata"]["name"] for each in made if each["kind"] == "Job"] == [f"chatws-migrate-{image['newTag']}"]
    wanted = f"{image['newName']}:{image['newTag']}"
    images = [each["image"] for one in made for pod in pods(one) for each in pod["containers"]]
    assert set(images) == {wanted}


def test_only_the_ingress_names_client_addresses() -> None:
    trusted = ipaddress.ip_network(found("ConfigMap", "chatws")["data"]["CHATWS_TRUSTED_PROXIES"])
    assert trusted.num_addresses <= 256, "a range of all pods lets any pod name its client"
    policy = found("NetworkPolicy", "chatws")["spec"]
    [selected] = policy["podSelector"]["matchExpressions"]
    deployments = {each["metadata"]["name"] for each in DOCUMENTS if each["kind"] == "Deployment"}
    assert set(selected["values"]) == deployments
    assert policy["policyTypes"] == ["Ingress"]
    for rule in policy["ingress"]:
        assert rule["from"], "an empty list lets everybody in"
        assert rule["ports"]


def test_services_and_ingress_lead_to_pods() -> None:
    served = {}
    for document in DOCUMENTS:
        if document["kind"] == "Service" and document["metadata"]["name"] != "chat-rpc":
            labels = document["spec"]["selector"]
            deployment = found("Deployment", document["metadata"]["name"])
            assert deployment["spec"]["template"]["metadata"]["labels"] == labels
            served[document["metadata"]["name"]] = {port["name"] for port in document["spec"]["ports"]}
    [rule] = found("Ingress", "chatws")["spec"]["rules"]
    assert rule["host"] == found("ConfigMap", "chatws")["data"]["CHATWS_ALLOWED_HOSTS"]
    routes = {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
    assert {path: service["name"] for path, service in routes.items()} == {
        "/admin/": "chatws-admin", "/": "chatws-gateway",
    }  # fmt: skip
    for service in routes.values():
        assert service["port"]["name"] in served[service["name"]]
    admin = found("Deployment", "chatws-admin")["spec"]["template"]["spec"]["containers"][0]
    assert admin["env"] == [{"name": "CHATWS_ADMIN", "value": "only"}]
    assert found("ConfigMap", "chatws")["data"]["CHATWS_ADMIN"] == "off"


def test_chat_service_is_balanced_by_its_name() -> None:
    name, _, port = found("ConfigMap", "chatws")["data"]["CHATWS_RPC_TARGET"].partition(":")
    service = found("Service", name)["spec"]
    assert service["clusterIP"] == "None"
    assert int(port) in {each["port"] for each in service["ports"]}


def test_it_is_said_who_trims_the_topics() -> None:
    assert found("ConfigMap", "chatws")["data"]["CHATWS_OWN_TOPICS"] in ("0", "1"), "else perhaps nobody trims them"
