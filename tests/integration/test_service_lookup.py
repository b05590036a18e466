"""SRV records are looked up by dnspython at a real nameserver; whatever it does ends as an answer."""

import asyncio

import pytest

from balancer.discovery import service_lookup
from balancer.discovery.service_lookup import Record, Services
from tests.fakes.nameserver import Nameserver, nameserver

NAME = "_http._tcp.app.example"
ONE = Record(10, 5, 8000, "app1.example", ("10.0.0.1",))


async def look_up(server: Nameserver, name: str = NAME) -> Services:
    return await asyncio.to_thread(service_lookup.look_up, name, server.address)


async def test_addresses_sent_along_need_no_further_question() -> None:
    async with nameserver() as server:
        server.say(NAME, "SRV", "10 5 8000 app1.example.", "20 0 8001 app2.example.")
        server.say("app1.example", "A", "10.0.0.1")
        server.say("app2.example", "A", "10.0.0.2", "0.0.0.0")
        found = await look_up(server)
        assert sorted(found.records, key=lambda one: one.target) == [
            ONE,
            Record(20, 0, 8001, "app2.example", ("10.0.0.2",)),
        ]
        assert server.asked == [(f"{NAME}.", "SRV")]


async def test_targets_without_addresses_are_asked_for_ipv6_only_if_there_is_no_ipv4() -> None:
    async with nameserver() as server:
        server.along = False
        server.say(NAME, "SRV", "10 5 8000 app1.example.", "10 5 8000 app6.example.")
        server.say("app1.example", "A", "10.0.0.1")
        server.say("app1.example", "AAAA", "fd00::1")
        server.say("app6.example", "AAAA", "fd00::6")
        found = await look_up(server)
        assert {one.target: one.addresses for one in found.records} == {
            "app1.example": ("10.0.0.1",),
            "app6.example": ("fd00::6",),
        }
        assert ("app1.example.", "AAAA") not in server.asked


async def test_a_target_that_does_not_exist_has_no_address_and_the_others_have() -> None:
    async with nameserver() as server:
        server.say(NAME, "SRV", "10 5 8000 gone.example.", "10 5 8000 app1.example.")
        server.say("app1.example", "A", "10.0.0.1")
        found = await look_up(server)
        assert found.problem == ""
        assert {one.target: one.addresses for one in found.records} == {
            "gone.example": (),
            "app1.example": ("10.0.0.1",),
        }


async def test_after_a_target_without_an_answer_no_further_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_lookup, "LIFETIME", 0.3)
    async with nameserver() as server:
        server.along = False
        server.say(NAME, "SRV", *(f"10 5 8000 app{number}.example." for number in range(9)))
        server.silent.update(f"app{number}.example." for number in range(9))
        found = await look_up(server)
        assert [one.addresses for one in found.records] == [()] * 9
        assert len({name for name, _ in server.asked}) == 2


@pytest.mark.parametrize("records", [["0 0 0 ."], ["10 5 0 app1.example."]], ids=["root", "port_0"])
async def test_a_service_that_is_not_available_has_no_records(records: list[str]) -> None:
    async with nameserver() as server:
        server.say(NAME, "SRV", *records)
        assert await look_up(server) == Services()


async def test_what_goes_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_lookup, "LIFETIME", 0.3)
    async with nameserver() as server:
        assert (await look_up(server)).problem == "the name does not exist"
        server.say(NAME, "A", "10.0.0.1")
        assert (await look_up(server)).problem == "it has no SRV record"
        server.refuses = True
        assert (await look_up(server)).problem == "the nameserver answers with an error"
        server.silent.add(f"{NAME}.")
        assert (await look_up(server)).problem == "no answer within 0.3 s"
        assert "label" in (await look_up(server, "a" * 64)).problem
