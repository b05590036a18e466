"""Each alert is fired once by its real fault: real balancers and replicas, a real Prometheus with the shipped
rules, a real Alertmanager with the shipped routes, and a webhook that is told.

The rules are in a hurry (`scaled.py`): ranges are divided by 60, and how long something must last by 300.
"""

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.fakes.alertmanager import Told, alertmanager
from tests.fakes.instance import Balancer
from tests.fakes.prometheus import prometheus
from tests.fakes.reloading import change
from tests.prometheus import scaled
from tests.prometheus.rules import ROOT, alerts
from tests.prometheus.scene import Scene, asking, with_a_busy_policy, with_certificates

pytestmark = [pytest.mark.integration, pytest.mark.slow]

QUIET = 12.0  # seconds of load in which nothing happens, so that trends have a past
PATIENCE = 100.0  # seconds after the faults in which all alerts must arrive
LAST = {"BalancerDown", "BalancerAbsent"}  # that need balancers to stop
BEFORE = {"BalancerCertificateExpires", "BalancerRenewalFails"}  # wrong from the start
SHIPPED = (ROOT / "config/alertmanager.yml").read_text("utf-8")
OF_THE_MACHINE = {"BalancerEventLoopLag"}  # where others use it too
NAMES = {alert.name for alert in alerts()}
_UNRESOLVED = re.compile(r"<no value>|<error|%!|\{\{|\binf\b|NaN|\+Inf")


@pytest.fixture(autouse=True)
def _workers_find_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


async def flapping(scene: Scene) -> None:
    """A replica fails its checks again and again."""
    first = scene.replicas["flap"][0]
    for _ in range(12):
        first.status = 500
        await asyncio.sleep(0.7)
        first.status = 200
        await asyncio.sleep(0.7)


async def more_that_wait(scene: Scene) -> None:
    """A client more every two seconds, at a pool that serves one at a time."""
    scene.replicas["queued"][0].takes = 0.01
    for _ in range(16):
        scene.client("queued")
        await asyncio.sleep(1.7)


async def more_in_flight(scene: Scene) -> None:
    """A request more every second that is not answered."""
    scene.replicas["near"][0].hangs = True
    for _ in range(19):
        scene.client("near")
        await asyncio.sleep(1.0)


async def more_that_are_slow(scene: Scene) -> None:
    """More and more requests are slow, but less than may be: each hundredth, each fortieth, each 24th."""
    (replica,) = scene.replicas["rising"]
    loop = asyncio.get_running_loop()
    begin = loop.time()
    client = await scene.balancer.connect()
    for number in count(1):
        elapsed = loop.time() - begin
        every = 100 if elapsed < 20 else 40 if elapsed < 40 else 24
        replica.takes = 0.25 if number % every == 0 else 0.0
        client.send("/rising")
        await client.answer()
        await asyncio.sleep(0.02)


def spoil(members: Path, certificate: Path, settings: Path) -> None:
    """Write what cannot be used into these files."""
    members.write_text("[app1:8000]")  # a name, where addresses belong
    certificate.write_text("no certificate")
    settings.write_text("wokers: 2\n")


async def cause(scene: Scene, certificate: Path, settings: Path, second: Balancer) -> None:
    """The faults that happen at once."""
    for replica in (
        scene.replicas["panic"][0],
        scene.replicas["out"][0],
        *scene.replicas["half"][:2],
        scene.replicas["backup"][0],
        scene.replicas["retried"][0],
    ):
        await replica.leave()
    scene.replicas["broken"][0].status = 500
    for replica in scene.replicas["late"]:
        replica.takes = 0.25
    scene.replicas["full"][0].takes = 0.05
    for _ in range(30):
        scene.client("full")
    for fault in (flapping, more_that_wait, more_in_flight):
        scene.during(fault)
    spoil(scene.members, certificate, settings)
    await change(second, "POST", "/api/reload", {})
    os.kill(second.workers()[0], signal.SIGKILL)


async def seen(directory: Path) -> tuple[Told, set[str], set[str], set[str]]:
    """What was told, which alerts came before the faults, and which are missing after them and at the end."""
    async with AsyncExitStack() as stack:
        scene = Scene(directory / "members.yaml")
        await scene.start(stack)
        second, certificate, settings = await stack.enter_async_context(with_certificates(directory))
        third = await stack.enter_async_context(with_a_busy_policy())
        told = await stack.enter_async_context(alertmanager(directory, SHIPPED))
        interval = f"{scaled.SCRAPE * 1000:.0f}ms"
        jobs = {
            "balancer": [scene.balancer.admin_port],
            "balancer-second": [second.admin_port],
            "balancer-third": [third.admin_port],
        }
        await stack.enter_async_context(
            prometheus(
                directory,
                jobs,
                rule_files=scaled.write(directory),
                alerting={"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{told.port}"]}]}]},
                **{
                    "global": {
                        "scrape_interval": interval,
                        "scrape_timeout": interval,
                        "evaluation_interval": interval,
                    }
                },
            )
        )
        for pool in ("retried", "broken", "late", "half", "flap", "full", "panic"):
            for _ in range(8 if pool == "late" else 3):
                scene.client(pool, pause=0.05)
        scene.during(more_that_are_slow)
        await told.of(NAMES, QUIET)  # for that long
        early = set(told.alerts)
        await cause(scene, certificate, settings, second)
        busy = asyncio.create_task(asking(third.port, "/", 0.0))
        missing = await told.of(NAMES - LAST, PATIENCE)
        busy.cancel()
        await scene.stop()
        second.signal(signal.SIGTERM)
        missing |= await told.of({"BalancerDown"}, 20.0)
        for balancer in (scene.balancer, third):
            balancer.signal(signal.SIGKILL)
        missing |= await told.of({"BalancerAbsent"}, 20.0)
        return told, early, missing, set(told.alerts)


async def test_each_alert_is_fired_by_its_fault(tmp_path: Path) -> None:
    told, early, missing, came = await seen(tmp_path)
    assert early - BEFORE - OF_THE_MACHINE == set()
    assert missing == set()
    assert came == NAMES
    texts = [
        f"{name}: {text}"
        for name, all_of_it in told.alerts.items()
        for alert in all_of_it
        for text in alert["annotations"].values()
    ]
    assert [text for text in texts if _UNRESOLVED.search(text)] == []
