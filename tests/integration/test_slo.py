"""Promises in a whole balancer: what its metrics say of them, how a reload changes them, and the gate that
watches them."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, get, running, until
from tests.fakes.reloading import reloading

pytestmark = pytest.mark.integration

WEB = 'pool="default",route="default"'
NOT_PROMISED = (
    "abort_if 'slo' asks for an SLO, and nothing is promised for requests of route web at stable; set "
    "SLO__LATENCY of the pool, or slo of the route"
)
SLOW = 0.75  # seconds; more than what is promised here


async def bounds(balancer: Balancer, metric: str) -> list[str]:
    """The bounds of the buckets of a histogram."""
    lines = (await get(balancer.admin_port, "/metrics")).body.decode().splitlines()
    found = [
        line.partition('le="')[2].partition('"')[0] for line in lines if line.startswith(f"{metric}_bucket")
    ]
    return found[: found.index("+Inf") + 1]


async def test_all_processes_count_over_the_same_bounds() -> None:
    settings = {
        "WORKERS": "2",
        "METRICS__BUCKETS": "100ms,1500ms",
        "SLO__LATENCY": "700ms",
        "SLO__PERCENTILE": "99",
        "RETRY__STATUSES": "[]",
        "LIMITS__MAX_INFLIGHT": "2",
    }
    async with app_replica() as app, running(UPSTREAMS=app.address, **settings) as balancer:
        await balancer.becomes_ready()
        for _ in range(20):
            await get(balancer.port)
        app.status = 503
        await get(balancer.port)
        app.status, app.takes = 200, SLOW
        await get(balancer.port)
        app.takes = 0.0
        await balancer.shows(f"balancer_slo_requests_total{{{WEB}}}", 22)
        await balancer.shows(f"balancer_slo_slow_requests_total{{{WEB}}}", 1)
        await balancer.shows(f"balancer_slo_failed_requests_total{{{WEB}}}", 1)
        counts = {
            bound: await balancer.metric(f'balancer_request_duration_seconds_bucket{{le="{bound}",{WEB}}}')
            for bound in ("0.7", "1.5", "+Inf")
        }
        assert counts == {"0.7": 21, "1.5": 22, "+Inf": 22}
        first_byte = f'le="0.7",pool="default",upstream="{app.address}"'
        assert await balancer.metric(f"balancer_upstream_first_byte_seconds_bucket{{{first_byte}}}") == 21
        for metric in ("request_duration", "upstream_first_byte", "queue_wait", "active_check_duration"):
            assert await bounds(balancer, f"balancer_{metric}_seconds") == ["0.1", "0.7", "1.5", "+Inf"]
        gauges = {
            name: await balancer.metric(f"balancer_slo_{name}{{{WEB}}}")
            for name in ("latency_seconds", "percentile_ratio", "errors_ratio", "window_seconds")
        }
        assert gauges == {
            "latency_seconds": 0.7,
            "percentile_ratio": 0.99,
            "errors_ratio": 0.01,
            "window_seconds": 2_592_000,
        }
        pools = (await get(balancer.admin_port, "/api/pools")).json()
        (upstream,) = pools["pools"][0]["upstreams"]
        assert 0.7 in pools["first_byte_bounds"]
        assert len(upstream["first_byte_buckets"]) == len(pools["first_byte_bounds"]) + 1
        place = pools["first_byte_bounds"].index(0.7)
        assert sum(upstream["first_byte_buckets"][: place + 1]) == 21


async def test_a_reload_changes_what_is_promised_and_counts_go_on(tmp_path: Path) -> None:
    async with app_replica() as app, reloading(tmp_path, {"upstreams": app.address}) as balanced:
        balancer = balanced.balancer
        await get(balancer.port)
        view = await balanced.reload(upstreams=app.address, slo={"latency": "700ms"})
        assert (view["how"], changed(view)) == ("new_workers", [("slo.latency", "new_workers")])
        app.takes = SLOW
        await get(balancer.port)
        app.takes = 0.0
        await balancer.shows(f"balancer_slo_slow_requests_total{{{WEB}}}", 1)
        await balancer.shows(f"balancer_slo_requests_total{{{WEB}}}", 1)
        await balancer.shows(f"balancer_request_duration_seconds_count{{{WEB}}}", 2)
        assert "0.7" in await bounds(balancer, "balancer_request_duration_seconds")
        # It is a bound of the default buckets, so workers count it already; and 700 ms they count by now.
        for latency, seconds in (("500ms", 0.5), ("700ms", 0.7)):
            view = await balanced.reload(upstreams=app.address, slo={"latency": latency})
            assert (view["how"], changed(view)) == ("live", [("slo.latency", "live")])
            assert await balancer.metric(f"balancer_slo_latency_seconds{{{WEB}}}") == seconds
        await get(balancer.port)
        await balancer.shows(f"balancer_slo_requests_total{{{WEB}}}", 2)
        assert await balancer.metric(f"balancer_slo_slow_requests_total{{{WEB}}}") == 1


def changed(view: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["setting"], one["how"]) for one in view["changes"]]


async def test_a_canary_that_misses_its_slo_is_taken_back() -> None:
    async with app_replica("stable") as stable, app_replica("canary") as canary:
        canary.status = 500
        settings = {
            "POOLS__STABLE__UPSTREAMS": stable.address,
            "POOLS__CANARY__UPSTREAMS": canary.address,
            "POOLS__CANARY__SLO__LATENCY": "2s",
            "POOLS__CANARY__SLO__ERRORS": "5%",
            "HEALTH_CHECK__ENABLED": "false",
            "OUTLIER__ENABLED": "false",
            "SPLIT__KEY": "query:user",
            "ROUTES": '[{"name": "web", "split": {"stable": 90, "canary": 10}}]',
        }
        async with running(**settings) as balancer, aiohttp.ClientSession() as session:
            await balancer.becomes_ready()
            url = f"http://127.0.0.1:{balancer.admin_port}/api/routes/web/split"
            gate = {"hold": 60, "abort_if": "slo"}
            async with session.patch(url, json={"weights": {"stable": 10}, "gate": gate}) as answer:
                assert answer.status == 200
            async with session.patch(url, json={"weights": {"stable": 95}, "gate": gate}) as answer:
                assert (answer.status, await answer.json()) == (
                    409,
                    {"error": NOT_PROMISED},
                )
            ended: dict[str, Any] = {}

            async def has_ended() -> bool:
                nonlocal ended
                for user in range(60):
                    await get(balancer.port, f"/?user={user}")
                async with session.get(url) as answer:
                    ended = await answer.json()
                return ended["gate"] is None

            await until(has_ended)
            assert ended["weights"] == {"stable": 90, "canary": 10}
            assert ended["last_gate"]["result"] == "breached"
            assert ended["last_gate"]["why"] == (
                "slo: canary: 100.00% of its requests failed (promised: 5% at most)"
            )
