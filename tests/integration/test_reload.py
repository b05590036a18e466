"""Settings that are taken up while a whole balancer serves: what changes live, what is refused, and what
stays as it is."""

import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import event, get, launched, until
from tests.fakes.reloading import change, other_workers, reloading, write

pytestmark = pytest.mark.integration

EJECTED_FOR_LONG = {"consecutive_5xx": 1, "ejection_time": "5m", "max_ejection_percent": 100}


async def test_members_change_live_and_the_answer_names_them(tmp_path: Path) -> None:
    async with (
        app_replica("one") as one,
        app_replica("two") as two,
        reloading(tmp_path, {"upstreams": one.address}) as balanced,
    ):
        workers = balanced.balancer.workers()
        client = await balanced.balancer.connect()
        client.send()
        assert (await client.answer()).body == b"one"
        view = await balanced.reload(upstreams=f"{two.address}?weight=3")
        assert (view["result"], view["how"], view["changes"]) == ("applied", "live", [])
        assert view["members"] == [
            {"pool": "default", "id": one.address, "change": "removed", "before": one.address, "after": None},
            {
                "pool": "default",
                "id": two.address,
                "change": "added",
                "before": None,
                "after": f"{two.address}?weight=3",
            },
        ]
        assert "BALANCER_HEALTH_CHECK__ENABLED" in view["from_environment"]

        async def is_served_by_two() -> bool:  # on the connection from before
            client.send()
            return (await client.answer()).body == b"two"

        await until(is_served_by_two)
        assert balanced.balancer.workers() == workers
        text = (await event(balanced.balancer, "reload"))["text"]
        assert f"{one.address} removed, {two.address} added taken up live" in text


async def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    async with app_replica() as app, reloading(tmp_path, {"upstreams": app.address}) as balanced:
        balanced.write(upstreams=[app.address, "127.0.0.9:1"], workers=2)
        view = (await balanced.ask(dry_run=True)).json()
        assert (view["result"], view["how"]) == ("would_apply", "new_workers")
        assert [(one["setting"], one["how"]) for one in view["changes"]] == [("workers", "new_workers")]
        assert [one["id"] for one in view["members"]] == ["127.0.0.9:1"]
        assert len((await get(balanced.balancer.admin_port, "/api/pools/default")).json()["upstreams"]) == 1


async def test_hup_reads_the_file_again(tmp_path: Path) -> None:
    async with (
        app_replica("one") as one,
        app_replica("two") as two,
        reloading(tmp_path, {"upstreams": one.address}) as balanced,
    ):
        balanced.write(upstreams=two.address)
        balanced.balancer.signal(signal.SIGHUP)
        await balanced.balancer.says("reload by SIGHUP: ")
        await balanced.balancer.shows('balancer_config_reloads_total{result="applied"}', 1)
        await balanced.serves(b"two")


async def test_hup_while_it_starts_is_not_lost(tmp_path: Path) -> None:
    """The settings may have been read before it."""
    file = tmp_path / "balancer.yaml"
    async with app_replica("one") as app:
        write(file, {"upstreams": "127.0.0.1:1"})
        async with launched(CONFIG=str(file), HEALTH_CHECK__ENABLED="false") as balancer:

            async def handles_it() -> bool:  # else it ends the process, as any other
                status = Path(f"/proc/{balancer.pid}/status").read_text()  # noqa: ASYNC240 - it is no disk
                return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1 << signal.SIGHUP - 1)

            await until(handles_it)
            write(file, {"upstreams": app.address})
            balancer.signal(signal.SIGHUP)
            await balancer.established()
            await balancer.says("reload by SIGHUP: ")

            async def serves() -> bool:
                return (await get(balancer.port)).body == b"one"

            await until(serves)


async def test_a_watched_file_that_is_replaced_or_leads_elsewhere_is_read_again(tmp_path: Path) -> None:
    """By a rename, and by a link that is swapped, as Kubernetes does it."""
    versions = [tmp_path / "v1", tmp_path / "v2"]
    async with app_replica("one") as one, app_replica("two") as two, app_replica("three") as three:
        for version, app in zip(versions, (one, two), strict=True):
            version.mkdir()
            write(version / "balancer.yaml", {"upstreams": app.address, "reload": {"watch": True}})
        (tmp_path / "data").symlink_to(versions[0])
        file = tmp_path / "linked.yaml"
        file.symlink_to(Path("data", "balancer.yaml"))
        async with reloading(tmp_path, {}, CONFIG=str(file)) as balanced:
            await balanced.serves(b"one")
            (tmp_path / "data.new").symlink_to(versions[1])
            os.replace(tmp_path / "data.new", tmp_path / "data")
            await balanced.serves(b"two")
            write(versions[1] / "balancer.yaml", {"upstreams": three.address, "reload": {"watch": True}})
            await balanced.serves(b"three")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        pytest.param({"nonsense": 1}, "nonsense: no such setting", id="unknown setting"),
        pytest.param({"upstreams": "127.0.0.1:1?weight=x"}, "weight", id="wrong value"),
        pytest.param({"workers": 250}, "WORKERS", id="more workers than there is room for"),
    ],
)
async def test_wrong_settings_are_refused_and_the_old_ones_serve(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    async with app_replica("one") as app, reloading(tmp_path, {"upstreams": app.address}) as balanced:
        balanced.write(**{"upstreams": app.address, **settings})
        answer = await balanced.ask()
        assert (answer.status, answer.json()["result"]) == (422, "refused")
        assert problem in answer.json()["problems"][0]
        assert problem in await balanced.balancer.says("reload by 127.0.0.1 refused: ")
        assert problem in (await event(balanced.balancer, "reload"))["text"]
        assert await balanced.balancer.metric('balancer_config_reloads_total{result="refused"}') == 1
        assert await balanced.balancer.metric("balancer_config_last_reload_success") == 0
        assert (await get(balanced.balancer.port)).body == b"one"


async def test_settings_by_which_no_worker_can_work_are_taken_back(tmp_path: Path) -> None:
    """With their routes and pools; what is right again is taken up."""
    async with app_replica("one") as app, reloading(tmp_path, {"upstreams": app.address}) as balanced:
        workers = balanced.balancer.workers()
        pools = {"other": {"upstreams": app.address}}
        good = {"upstreams": app.address, "pools": pools, "routes": "/other/=other, /=default"}
        balanced.write(**good, policy="tests.fakes.failing_policy:Failing")
        answer = await balanced.ask()
        assert (answer.status, answer.json()["result"]) == (409, "taken_back")
        assert "its map cannot be read" in answer.json()["error"]
        assert (await get(balanced.balancer.port)).body == b"one"
        await balanced.has_workers(1)
        assert balanced.balancer.workers() == workers
        names = [
            one["name"] for one in (await get(balanced.balancer.admin_port, "/api/pools")).json()["pools"]
        ]
        assert names == ["default"]
        assert await balanced.balancer.metric("balancer_config_last_reload_success") == 0
        assert (await balanced.reload(**good))["result"] == "applied"
        assert (await get(balanced.balancer.port, "/other/")).body == b"one"
        assert await balanced.balancer.metric("balancer_config_last_reload_success") == 1


async def test_ejections_and_what_the_operator_has_set_stay(tmp_path: Path) -> None:
    """Also with new workers; an upstream that the API has added stays, and may be named later."""
    async with app_replica("one") as one, app_replica("two") as two, app_replica("three") as three:
        base: dict[str, Any] = {
            "upstreams": [one.address, two.address],
            "outlier": EJECTED_FOR_LONG,
            "retry": {"max_attempts": 2, "statuses": ""},
        }
        async with reloading(tmp_path, base) as balanced:
            one.status = 500

            async def is_ejected() -> bool:
                await get(balanced.balancer.port)
                causes: list[str] = (await balanced.upstream(one.address))["causes"]
                return causes == ["outlier"]

            await until(is_ejected)
            of_pool = "/api/pools/default/upstreams"
            wish = {"admin_state": "draining", "weight": 7}
            assert (await change(balanced.balancer, "PATCH", f"{of_pool}/{two.address}", wish)).status == 200
            added = {"upstream": three.address}
            assert (await change(balanced.balancer, "POST", of_pool, added)).status == 201
            for settings in (
                {**base, "upstreams": [f"{one.address}?weight=2", two.address]},
                {
                    **base,
                    **other_workers(),
                    "upstreams": [one.address, f"{two.address}?weight=2", three.address],
                },
            ):
                await balanced.reload(**settings)
                assert (await balanced.upstream(one.address))["causes"] == ["outlier"]
                drained = await balanced.upstream(two.address)
                assert (drained["admin_state"], drained["weight"]) == ("draining", 7)
                await balanced.serves(b"three")
                assert {(await get(balanced.balancer.port)).body for _ in range(8)} == {b"three"}
            assert (await balanced.upstream(three.address))["source"] == ""


async def test_a_pool_and_its_route_come_and_go(tmp_path: Path) -> None:
    async with (
        app_replica("one") as one,
        app_replica("two") as two,
        reloading(
            tmp_path, {"upstreams": one.address}, HEALTH_CHECK__ENABLED="true", HEALTH_CHECK__INTERVAL="100ms"
        ) as balanced,
    ):
        view = await balanced.reload(
            upstreams=one.address,
            pools={"other": {"upstreams": two.address}},
            routes="/other/=other, /=default",
        )
        assert view["how"] == "new_workers"
        assert {one["setting"] for one in view["changes"]} == {"pools.other", "routes"}
        await balanced.serves(b"two", "/other/")
        await balanced.serves(b"one")
        await balanced.reload(upstreams=one.address)
        await balanced.serves(b"one", "/other/")
        assert (await get(balanced.balancer.admin_port, "/api/pools/other")).status == 404
        checks, others = two.checks, one.checks

        async def goes_on() -> bool:
            return one.checks > others + 3

        await until(goes_on)
        assert two.checks <= checks + 1  # one may have been on its way


async def test_a_thousand_upstreams_are_taken_up_live(tmp_path: Path) -> None:
    many = [f"127.1.{number // 250}.{number % 250 + 1}:9" for number in range(1000)]
    async with app_replica("one") as app, reloading(tmp_path, {"upstreams": [app.address]}) as balanced:
        view = await balanced.reload(upstreams=[app.address, *many])
        assert (view["how"], len(view["members"])) == ("live", 1000)
        assert view["seconds"] < 15  # 0.7 s on an idle machine, most of it for a process that reads them
        view = await balanced.reload(upstreams=[app.address])
        assert (view["how"], len(view["members"])) == ("live", 1000)
        assert (await get(balanced.balancer.port)).body == b"one"


async def test_another_admin_token_counts_from_the_reload_on(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-first-t0ken")
    settings = {"admin_token_file": str(token)}
    async with app_replica() as app, reloading(tmp_path, {"upstreams": app.address, **settings}) as balanced:
        target = f"/api/pools/default/upstreams/{app.address}"

        async def status(with_token: str) -> int:
            async with (
                aiohttp.ClientSession(f"http://127.0.0.1:{balanced.balancer.admin_port}") as session,
                session.patch(
                    target, json={"weight": 3}, headers={"Authorization": f"Bearer {with_token}"}
                ) as answer,
            ):
                return answer.status

        assert [await status("the-first-t0ken"), await status("the-second-t0ken")] == [200, 401]
        token.write_text("the-second-t0ken")
        balanced.balancer.signal(signal.SIGHUP)
        await balanced.balancer.says("files that the settings name taken up live")
        assert [await status("the-first-t0ken"), await status("the-second-t0ken")] == [401, 200]
