"""examples/kubernetes: valid for Kubernetes, and its probes, ports, times and settings are the balancer's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.policies import registry
from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import get, running

ROOT = Path(__file__).parents[2]
DOCUMENTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "examples/kubernetes/balancer.yaml").read_text(encoding="utf-8"))
)
BY_NAME = {(one["kind"], one["metadata"]["name"]): one for one in DOCUMENTS}
DEPLOYMENT = BY_NAME["Deployment", "balancer"]
POD: Mapping[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
PROBES = [CONTAINER[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")]
VERSIONS = ["1.31", "1.34", "1.37"]


def environment() -> dict[str, str]:
    """What the container gets by `envFrom`."""
    found: dict[str, str] = {}
    for source in CONTAINER["envFrom"]:
        if "secretRef" in source:
            found |= BY_NAME["Secret", source["secretRef"]["name"]]["stringData"]
        else:
            found |= BY_NAME["ConfigMap", source["configMapRef"]["name"]]["data"]
    return found


def settings() -> Settings:
    return load(environment(), None, registry)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_it_is_valid(document: Mapping[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_its_settings_are_complete_and_all_have_an_effect() -> None:
    done = run("balancer", "check", environ={"PATH": "/usr/bin:/bin", **environment()})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_pod_may_stop_for_longer_than_the_drain_takes() -> None:
    timeouts = settings().timeouts
    assert POD["terminationGracePeriodSeconds"] > timeouts.drain_delay + timeouts.drain
    failing = CONTAINER["readinessProbe"]["periodSeconds"] * CONTAINER["readinessProbe"]["failureThreshold"]
    assert timeouts.drain_delay > failing


def test_its_ports_are_those_of_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert PORTS["http"] == settings().listen.port
    assert f"BALANCER_ADMIN_LISTEN=0.0.0.0:{PORTS['admin']}\n" in dockerfile


def test_services_lead_to_the_pods_and_their_ports() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert BY_NAME["PodDisruptionBudget", "balancer"]["spec"]["selector"]["matchLabels"] == labels
    for spread in POD["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"] == labels
    for name in ("balancer", "balancer-admin"):
        spec = BY_NAME["Service", name]["spec"]
        assert spec["selector"] == labels
        assert [port["targetPort"] in PORTS for port in spec["ports"]] == [True]
    app = BY_NAME["Service", "app-headless"]
    assert app["spec"]["clusterIP"] == "None"
    name, port = app["metadata"]["name"], app["spec"]["ports"][0]["port"]
    assert environment()["BALANCER_UPSTREAMS"] == f"dns://{name}:{port}"


@pytest.mark.integration
async def test_its_probes_are_answered() -> None:
    async with app_replica("one") as app, running(UPSTREAMS=app.address) as balancer:
        for probe in PROBES:
            assert probe["port"] == "admin"
            assert (await get(balancer.admin_port, probe["path"])).status == 200
