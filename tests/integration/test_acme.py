"""Automatic certificates, ordered from pebble, which looks for the proofs as a real authority does."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.body_app import body_app
from tests.fakes.instance import Balancer, event, get, running
from tests.fakes.pebble import free_port, pebble

pytestmark = pytest.mark.integration


async def acme(balancer: Balancer, domain: str = "shop.example") -> dict[str, Any]:
    """What the admin API shows of the orders for a domain."""
    views = (await get(balancer.admin_port, "/api/certificates")).json()["certificates"]
    found: dict[str, Any] = next(one["acme"] for one in views if one["name"] == domain)
    return found


async def orders(balancer: Balancer, result: str, domain: str = "shop.example") -> float:
    return await balancer.metric(f'balancer_acme_renewals_total{{domain="{domain}",result="{result}"}}')


async def issuer(balancer: Balancer, name: str = "shop.example") -> str:
    """Who has issued the certificate that a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(
        "127.0.0.1", balancer.tls_port, ssl=context, server_hostname=name
    )
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return "pebble" if b"Pebble Intermediate" in shown else "self" if b"self-signed" in shown else "other"


def modes(folder: Path) -> set[str]:
    return {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file()}


async def test_a_certificate_is_ordered_by_http_and_served_by_all_workers(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, port, 1) as authority, body_app() as app:
        settings = authority.settings("shop.example", EMAIL="") | {
            "UPSTREAMS": app.address,
            "LISTEN": f"127.0.0.1:{port}",
            "WORKERS": "2",
            "TLS__REDIRECT": "true",
        }
        settings.pop("EMAIL")
        async with running(**settings) as balancer:
            assert await issuer(balancer) == "self"
            await balancer.says("certificate shop.example is self-signed until the first one is issued")
            workers = balancer.workers()
            issued = await event(balancer, "certificate")
            assert issued["text"].startswith("certificate shop.example issued: shop.example, by Pebble")
            assert [await issuer(balancer) for _ in range(8)] == ["pebble"] * 8
            await balancer.shows('balancer_acme_renewals_total{domain="shop.example",result="issued"}', 1)
            view = await acme(balancer)
            assert (view["state"], view["failures"], view["error"]) == ("issued", 0, "")
            assert balancer.workers() == workers
            looked = await balancer.logs_access(1)
            assert {(one["status"], one["route"], one["attempts"]) for one in looked} == {(200, "default", 0)}
            # The token of nobody goes on to the app.
            asked = await get(balancer.port, "/.well-known/acme-challenge/" + "a" * 43)
            assert b"Server" in asked.head.encode() or asked.status != 308
        assert modes(authority.storage) == {"0o600"}
        asked_before = len(authority.front.asked)
        async with running(**settings) as balancer:
            assert await issuer(balancer) == "pebble"
            await balancer.becomes_ready()
            await asyncio.sleep(1.5)  # a look, and half of one: nothing is to happen
        assert len(authority.front.asked) == asked_before
