"""Automatic certificates, ordered from pebble, which looks for the proofs as a real authority does."""

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.body_app import body_app
from tests.fakes.instance import Balancer, event, get, running
from tests.fakes.pebble import Pebble, free_port, pebble

pytestmark = pytest.mark.integration

NOBODY = 1  # a port that nobody listens on
SHOP = "shop.example"


async def acme(balancer: Balancer, domain: str = SHOP) -> dict[str, Any]:
    """What the admin API shows of the orders for a domain."""
    views = (await get(balancer.admin_port, "/api/certificates")).json()["certificates"]
    found: dict[str, Any] = next(one["acme"] for one in views if one["name"] == domain)
    return found


async def orders(balancer: Balancer, domain: str = SHOP) -> dict[str, float]:
    series = 'balancer_acme_renewals_total{{domain="{}",result="{}"}}'
    return {each: await balancer.metric(series.format(domain, each)) for each in ("issued", "failed")}


async def connect(balancer: Balancer, name: str = SHOP) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", balancer.tls_port, ssl=context, server_hostname=name)


async def shown(balancer: Balancer, name: str = SHOP) -> tuple[str, bytes]:
    """Who has issued the certificate that a client is shown, and the certificate."""
    _, writer = await connect(balancer, name)
    der = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    return "pebble" if b"Pebble Intermediate" in der else "self" if b"self-signed" in der else "other", der


async def issuer(balancer: Balancer, name: str = SHOP) -> str:
    return (await shown(balancer, name))[0]


def file(authority: Pebble, name: str) -> Path:
    """A file of the storage."""
    (folder,) = authority.storage.iterdir()
    return folder / name


async def test_a_certificate_is_ordered_over_http_and_kept(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, port, NOBODY) as authority, app_replica() as app:
        settings = authority.settings(SHOP) | {
            "UPSTREAMS": app.address,
            "LISTEN": f"127.0.0.1:{port}",
            "WORKERS": "2",
            "TLS__REDIRECT": "true",
        }
        async with running(**settings) as balancer:
            assert await issuer(balancer) == "self"
            await balancer.says(f"certificate {SHOP} is self-signed until the first one is issued")
            workers = balancer.workers()
            issued = await event(balancer, "certificate")
            assert issued["text"].startswith(f"certificate {SHOP} issued: {SHOP}, by Pebble")
            assert [await issuer(balancer) for _ in range(8)] == ["pebble"] * 8
            await balancer.shows(f'balancer_acme_renewals_total{{domain="{SHOP}",result="issued"}}', 1)
            view = await acme(balancer)
            assert (view["state"], view["failures"], view["error"]) == ("issued", 0, "")
            assert balancer.workers() == workers
            looked = (await balancer.logs_access(1))[0]
            assert (looked["status"], looked["route"], looked["pool"]) == (200, "default", "")
            # A token that is not ours goes on to the app, not to https.
            assert (await get(balancer.port, "/.well-known/acme-challenge/other")).body == b"app"
        assert {path.stat().st_mode & 0o777 for path in authority.storage.rglob("*.*")} == {0o600}
        before = len(authority.front.asked)
        async with running(**settings) as balancer:
            assert await issuer(balancer) == "pebble"
            await asyncio.sleep(1.2)  # more than a look
            assert (await acme(balancer))["state"] == "issued"
        assert len(authority.front.asked) == before


async def test_a_certificate_is_ordered_over_tls_where_plain_http_is_not_reached(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, NOBODY, port, reject=15) as authority:
        authority.front.problems = [(400, "badNonce", "no")] * 3
        settings = authority.settings(SHOP, TLS__MIN_VERSION="1.3") | {"TLS__LISTEN": f"127.0.0.1:{port}"}
        async with running(**settings) as balancer:
            failed = await event(balancer, "certificate_failed")
            assert "http-01: the authority says: " in failed["text"]
            assert "A self-signed one serves" in failed["text"]
            await event(balancer, "certificate")
            assert await issuer(balancer) == "pebble"
            await balancer.shows(f'balancer_acme_renewals_total{{domain="{SHOP}",result="issued"}}', 1)
            assert await orders(balancer) == {"issued": 1, "failed": 1}
            assert json.loads(file(authority, f"state/{SHOP}.json").read_text())["challenge"] == "tls-alpn-01"
            assert (await acme(balancer))["error"] == ""
        assert authority.front.problems == []


async def test_a_certificate_is_renewed_without_a_connection_dropped(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, port, NOBODY, lifetime=6) as authority, body_app() as app:
        settings = authority.settings(SHOP, UPSTREAMS=app.address, LISTEN=f"127.0.0.1:{port}")
        async with running(**settings) as balancer:
            first = await event(balancer, "certificate")
            issued = time.monotonic()
            reader, writer = await connect(balancer)
            _, old = await shown(balancer)
            renewed = await event(balancer, "certificate", first["revision"])
            assert renewed["text"].startswith(f"certificate {SHOP} renewed: {SHOP}, by Pebble")
            assert time.monotonic() - issued > 1.5
            who, new = await shown(balancer)
            assert (who, new != old) == ("pebble", True)
            writer.write(b"GET /10 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()


async def test_of_instances_that_share_the_storage_one_orders_and_all_answer(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, port, NOBODY) as authority:
        authority.front.open.clear()
        async with running(**authority.settings(SHOP)) as orderer:
            await orderer.says(f"ordering a certificate for {SHOP}")
            # Only this one is reached by the authority.
            async with running(**authority.settings(SHOP, LISTEN=f"127.0.0.1:{port}")) as other:
                authority.front.open.set()
                for balancer in (orderer, other):
                    await event(balancer, "certificate")
                    assert await issuer(balancer) == "pebble"
                assert (await shown(orderer))[1] == (await shown(other))[1]
                assert await orders(other) == {"issued": 0, "failed": 0}
        assert authority.front.orders == 1


async def test_the_authority_is_asked_again_later_and_its_words_are_shown(tmp_path: Path) -> None:
    port = free_port()
    async with pebble(tmp_path, port, NOBODY) as authority:
        settings = authority.settings(SHOP, LISTEN=f"127.0.0.1:{port}")
        authority.front.down = True
        async with running(**settings) as balancer:
            await event(balancer, "certificate_failed")
            assert "cannot be reached" in (await acme(balancer))["error"]
            assert await issuer(balancer) == "self"
        asked = len(authority.front.asked)
        authority.front.down = False
        authority.front.problems = [(429, "rateLimited", "too many certificates for shop.example")]
        file(authority, "account.json").write_text("{")
        certificate = file(authority, f"certificates/{SHOP}.pem")
        certificate.parent.mkdir(exist_ok=True)
        certificate.write_text("-----BEGIN CERTIFICATE-----\nx")
        async with running(**settings) as balancer:
            breaks_off = await balancer.says(f"{certificate} breaks off: a block of CERTIFICATE has no end")
            assert breaks_off.endswith(f"A new certificate for {SHOP} is going to be ordered")
            await asyncio.sleep(1.2)  # more than a look
            assert len(authority.front.asked) == asked  # what is known of the failure outlives the process
            assert (await acme(balancer))["state"] == "failed"
            file(authority, f"state/{SHOP}.json").unlink()
            failed = await event(balancer, "certificate_failed")
            assert "says: too many certificates for shop.example (rateLimited). Next" in failed["text"]
            await balancer.says("account.json is damaged, so a new account is made")
            state = json.loads(file(authority, f"state/{SHOP}.json").read_text())
            assert state["not_before"] - time.time() > 7000
            # Next, it has forgotten the account.
            account = json.loads(file(authority, "account.json").read_text())
            account["url"] = account["url"].rpartition("/")[0] + "/forgotten"
            file(authority, "account.json").write_text(json.dumps(account))
            file(authority, f"state/{SHOP}.json").unlink()
            await event(balancer, "certificate")
            assert not json.loads(file(authority, "account.json").read_text())["url"].endswith("/forgotten")
