"""The image orders a certificate for itself, keeps it on a volume, and serves it again after a restart."""

import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PROJECT
from tests.e2e.engine import BASE_IMAGE, run
from tests.e2e.project import Project
from tests.e2e.stack import fetch, free_ports, until
from tests.fakes.https import Authority
from tests.fakes.tools import tool

pytestmark = pytest.mark.e2e

FILE = "tests/e2e/acme.yml"


class Site(Project):
    """The balancer and pebble. `directory` has what both read."""

    def __init__(self, directory: Path) -> None:
        self.tls, admin = free_ports(2)
        self.admin = f"http://127.0.0.1:{admin}"
        certificate, key = Authority(directory).site("pebble")
        config = {
            "listenAddress": "0.0.0.0:14000",
            "managementListenAddress": "",
            "certificate": f"/run/authority/{Path(certificate).name}",
            "privateKey": f"/run/authority/{Path(key).name}",
            "httpPort": 8080,
            "tlsPort": 8443,
        }
        (directory / "pebble.json").write_text(json.dumps({"pebble": config}))
        for path in (directory, *directory.iterdir()):
            path.chmod(0o755)  # the container's user is another one
        environ = {
            "PUBLISH_TLS": f"127.0.0.1:{self.tls}",
            "PUBLISH_ADMIN": f"127.0.0.1:{admin}",
            "BASE_IMAGE": os.environ.get("BASE_IMAGE") or BASE_IMAGE,
            "AUTHORITY": str(directory),
            "PEBBLE": os.path.realpath(tool("pebble", "pebble")),
        }
        super().__init__("balancer-e2e-acme", [FILE], environ)

    def certificate(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.admin}/api/certificates")["certificates"][0]
        return found

    def shown(self) -> str:
        """The certificate that a client gets, as PEM."""
        return ssl.get_server_certificate(("127.0.0.1", self.tls), timeout=10.0)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    request.config.stash[PROJECT] = site
    site.down()
    try:
        site.up()
        yield site
    finally:
        site.down()


def test_a_certificate_is_ordered_and_kept(site: Site) -> None:
    def state() -> str:
        return str(site.certificate()["acme"]["state"])

    until("the certificate is issued", state, lambda word: word == "issued")
    assert site.certificate()["issuer"].startswith("Pebble Intermediate")
    shown = site.shown()
    (balancer,) = site.containers("balancer")
    assert run("docker", "exec", balancer, "stat", "-c", "%u %a", "/var/lib/balancer").split() == [
        "10001",
        "700",
    ]
    (pebble,) = site.containers("pebble")
    run("docker", "kill", pebble)
    run("docker", "restart", "--time=10", balancer)
    assert until("it serves the same certificate", site.shown) == shown
    assert site.certificate()["acme"]["state"] == "issued"
