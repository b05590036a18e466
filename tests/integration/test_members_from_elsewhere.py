"""Files and SRV records list upstreams of a whole balancer: each change is used without a failed request, and
nothing that is wrong with them stops it."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, event, get, launched, until
from tests.fakes.names import FILE, Names
from tests.fakes.nameserver import nameserver

pytestmark = pytest.mark.integration

OFF = {"HEALTH_CHECK__ENABLED": "off"}
SERVICE = "_http._tcp.app.example"


def replace(path: Path, text: str) -> None:
    """Write a file in one step."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def swap(folder: Path, number: int, text: str) -> Path:
    """Give a folder other files as Kubernetes does; the path of the file in it."""
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}" / "members.yaml").write_text(text)
    (folder / "..tmp").symlink_to(f"..{number}")
    (folder / "..tmp").replace(folder / "..data")
    if number == 1:
        (folder / "members.yaml").symlink_to("..data/members.yaml")
    return folder / "members.yaml"


async def answers(balancer: Balancer, name: bytes) -> None:
    """Wait until this app answers every request. None fails meanwhile."""

    async def is_it() -> bool:
        found = [await get(balancer.port) for _ in range(6)]
        assert [one.status for one in found] == [200] * 6
        return {one.body for one in found} == {name}

    await until(is_it)


async def pool(balancer: Balancer) -> dict[str, Any]:
    (found,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("way", ["replaced", "link swapped"])
async def test_a_changed_file_is_used_without_a_failed_request(tmp_path: Path, way: str) -> None:
    async with app_replica("one") as one, app_replica("two") as two:
        path = tmp_path / "members.yaml"
        if way == "replaced":
            replace(path, f"- {one.address}\n")
        else:
            swap(tmp_path, 1, f"- {one.address}\n")
        async with launched(UPSTREAMS=f"file://{path}", **OFF) as balancer:
            await balancer.established()
            await answers(balancer, b"one")
            text = f"- {two.address}?weight=3\n"
            if way == "replaced":
                replace(path, text)
            else:
                swap(tmp_path, 2, text)
            await answers(balancer, b"two")
            (upstream,) = (await pool(balancer))["upstreams"]
            assert (upstream["id"], upstream["source"], upstream["weight"]) == (
                two.address,
                f"file://{path}",
                3,
            )
            replace(path, f"- {two.address}?weight=5\n")
            assert (await event(balancer, "weight"))["text"] == (
                f"{two.address} weight changed from 3 to 5: found by file://{path}"
            )


async def test_a_broken_file_is_a_problem_of_the_pool_and_its_members_stay(tmp_path: Path) -> None:
    async with app_replica("one") as one:
        path = tmp_path / "members.yaml"
        path.write_text(f"- {one.address}\n")
        async with launched(UPSTREAMS=f"file://{path}", **OFF) as balancer:
            await balancer.established()
            replace(path, f"- {one.address}\n- app1:8000\n")
            why = "entry 2: app1:8000 has no IP address; names can be used only in UPSTREAMS"
            assert (await event(balancer, "unresolved"))["text"] == f"file://{path} cannot be used: {why}"
            assert f"({why}); keeping its 1 upstream" in await balancer.says("cannot be used")
            assert (await pool(balancer))["problems"] == {f"file://{path}": why}
            assert (await get(balancer.port)).body == b"one"
            replace(path, "[]")
            await event(balancer, "resolved")
            found = await pool(balancer)
            assert (found["problems"], found["upstreams"]) == ({}, [])


async def test_a_missing_file_does_not_stop_the_balancer(tmp_path: Path) -> None:
    async with app_replica("one") as one:
        path = tmp_path / "members.json"
        async with launched(UPSTREAMS=f"file://{path}", **OFF) as balancer:
            await balancer.established()
            assert (await get(balancer.port)).status == 503
            replace(path, f'["{one.address}"]')
            await event(balancer, "added")
            await answers(balancer, b"one")


async def test_srv_records_are_followed(tmp_path: Path) -> None:
    async with app_replica("one") as one, app_replica("two") as two, nameserver() as server:
        server.say("app.example", "A", "127.0.0.1")
        server.say(SERVICE, "SRV", f"10 3 {one.port} app.example.", f"20 1 {two.port} app.example.")
        entry = f"srv://{SERVICE}"
        url = f"{entry}?refresh=100ms&nameserver={server.address}"
        async with launched(UPSTREAMS=url, **OFF) as balancer:
            await balancer.established()
            await answers(balancer, b"one")
            first, second = (await pool(balancer))["upstreams"]
            assert (first["id"], first["weight"], first["backup"]) == (one.address, 3, False)
            assert (second["id"], second["weight"], second["backup"]) == (two.address, 1, True)
            server.say(SERVICE, "SRV", f"5 1 {two.port} app.example.")
            await answers(balancer, b"two")
            server.refuses = True
            text = (await event(balancer, "unresolved"))["text"]
            assert text == f"{entry} does not resolve: the nameserver answers with an error"
            assert (await get(balancer.port)).body == b"two"
            server.refuses = False
            await event(balancer, "resolved")
            server.say(SERVICE, "SRV", "0 0 0 .")

            async def is_empty() -> bool:
                return (await get(balancer.port)).status == 503

            await until(is_empty)


@pytest.mark.parametrize(
    "entry", ["gone:8000", "dns://gone:8000", "srv://gone.invalid?nameserver=127.0.0.1:9"]
)
async def test_an_unknown_name_at_the_start_does_not_stop_the_balancer(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE, str(tmp_path / "names"))
    Names(tmp_path / "names")
    async with app_replica("one") as one:
        settings = {"UPSTREAMS": f"{entry},{one.address}", "HEALTH_CHECK__INTERVAL": "100ms"}
        async with launched("tests.fakes.names", **settings) as balancer:
            await balancer.established()
            await balancer.becomes_ready()
            assert (await get(balancer.port)).body == b"one"
            assert await balancer.says("gone")


async def test_a_balancer_without_any_upstream_starts_and_uses_the_first_that_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE, str(tmp_path / "names"))
    names = Names(tmp_path / "names")
    async with app_replica("one") as one:
        settings = {"UPSTREAMS": f"app:{one.port}", "HEALTH_CHECK__INTERVAL": "100ms"}
        async with launched("tests.fakes.names", **settings) as balancer:
            await balancer.established()
            assert (await get(balancer.port)).status == 503
            names.say(app=["127.0.0.1"])
            await event(balancer, "address")

            async def serves() -> bool:
                return (await get(balancer.port)).status == 200

            await until(serves)
