"""TLS to upstreams in a whole balancer: settings from the environment, checks, and what an operator reads."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.app_tls import NAME, app_context, app_that_alerts, app_that_asks
from tests.fakes.certificates import authority, made, text_of
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration

FAST = {"HEALTH_CHECK__INTERVAL": "100ms"}


@asynccontextmanager
async def site(folder: Path, trusted: bytes, **settings: str) -> AsyncIterator[tuple[Balancer, AppReplica]]:
    """A balancer in front of an app that speaks TLS, with the authorities that it trusts."""
    ca = folder / "ca.pem"
    ca.write_bytes(trusted)
    own = {"UPSTREAM_TLS__CA": str(ca), "UPSTREAM_TLS__SERVER_NAME": NAME, **FAST}
    async with app_replica(tls=app_context()) as app:
        address = f"https://{app.address}"
        async with running(UPSTREAMS=address, **{**own, **settings}) as balancer:
            yield balancer, app


async def test_a_renewed_certificate_is_shown_to_the_app_without_new_workers(tmp_path: Path) -> None:
    """The app takes only certificates of one authority, and the balancer's is of another one at first."""
    first, key = tmp_path / "own.pem", tmp_path / "own.key"
    other = trustme.CA()
    write_pair(other, first, key)
    own = {"UPSTREAM_TLS__CERTIFICATE": str(first), "UPSTREAM_TLS__KEY": str(key)}
    ca = tmp_path / "ca.pem"
    ca.write_bytes(text_of(authority().cert_pem))
    settings = {"UPSTREAM_TLS__CA": str(ca), "UPSTREAM_TLS__SERVER_NAME": NAME, "POLICY": "round_robin"}
    with app_that_alerts(app_that_asks(ssl.TLSVersion.TLSv1_3)) as port:
        async with running(UPSTREAMS=f"https://127.0.0.1:{port}", **settings, **own, **FAST) as balancer:
            said = await balancer.says("ejected: its first check failed")
            assert "(TLS alert: unknown ca): set BALANCER_UPSTREAM_TLS__CERTIFICATE" in said
            workers = balancer.workers()
            write_pair(authority(), first, key)
            await balancer.says(f"certificate {first} renewed: balancer.example")
            await balancer.says("readmitted: ")
            assert (await get(balancer.port)).status == 200
            assert balancer.workers() == workers
            (shown,) = (await get(balancer.admin_port, "/api/certificates")).json()["certificates"]
            assert (shown["name"], shown["pools"]) == (str(first), ["default"])


def write_pair(by: trustme.CA, certificate: Path, key: Path) -> None:
    made = by.issue_cert("balancer.example")
    certificate.write_bytes(made.cert_chain_pems[0].bytes())
    key.write_bytes(made.private_key_pem.bytes())


async def upstream_of(balancer: Balancer) -> Any:
    (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
    return pool["upstreams"][0]


async def test_requests_and_checks_go_by_tls(tmp_path: Path) -> None:
    async with site(tmp_path, text_of(authority().cert_pem)) as (balancer, app):
        await until(lambda: has_passed(balancer))
        assert [(await get(balancer.port)).body for _ in range(3)] == [b"app"] * 3
        assert app.requests == 3
        assert (await upstream_of(balancer))["server_name"] == NAME


async def has_passed(balancer: Balancer) -> bool:
    check = (await upstream_of(balancer))["last_check"]
    return check is not None and check["result"] == "passed"


async def test_an_operator_reads_why_an_app_is_not_trusted(tmp_path: Path) -> None:
    async with site(tmp_path, made("another authority").pem) as (balancer, app):
        refused = "its certificate is refused: unable to get local issuer certificate"
        said = await balancer.says(f"ejected: its first check failed; {refused}")
        assert "name the file of the authority that issued it in BALANCER_UPSTREAM_TLS__CA" in said
        answer = await get(balancer.port)
        assert answer.status == 502
        assert 'error=tls_certificate_error; details="upstream_tls"' in answer.head
        check = (await upstream_of(balancer))["last_check"]
        assert check["result"] == "tls"
        assert check["hint"].startswith(refused)
        assert (await upstream_of(balancer))["connect_failures"]["tls"] >= 1
        await until(lambda: has_failed(balancer))
        failure = (await get(balancer.admin_port, "/api/failures")).json()["failures"][0]
        assert failure["reason"] == "upstream_tls"
        assert failure["attempts"][-1]["detail"] == refused
        (line,) = await balancer.logs_access(1)
        assert line["reason"] == "upstream_tls"
        reason = f'pool="default",reason="tls",upstream="{app.address}"'
        await balancer.shows(f"balancer_upstream_connect_failures_total{{{reason}}}", 1)
        assert app.requests == 0


async def has_failed(balancer: Balancer) -> bool:
    return bool((await get(balancer.admin_port, "/api/failures")).json()["failures"])


async def test_an_upstream_added_by_the_api_speaks_tls_too(tmp_path: Path) -> None:
    async with (
        app_replica("second", tls=app_context()) as second,
        site(tmp_path, text_of(authority().cert_pem), POLICY="round_robin") as (balancer, _),
    ):
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"upstream": f"https://{second.address}"}) as response,
        ):
            assert response.status == 201

        async def both_serve() -> bool:
            return {(await get(balancer.port)).body for _ in range(4)} == {b"app", b"second"}

        await until(both_serve)
        exported = await get(balancer.admin_port, "/api/config?format=yaml")
        assert f"https://{second.address}" in exported.body.decode()
