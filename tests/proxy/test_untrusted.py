"""Untrusted peers that send fields of proxies are reported once, with the setting."""

import pytest

from balancer.clients.untrusted import UntrustedPeers
from balancer.http.fields import FORWARDING, Field
from balancer.messages import FromWorker, LogLine
from tests.fakes.wire import FakeClock
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness

HOUR = 3600.0
SPOOFED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"


class Peers:
    def __init__(self, trusts_others: bool = False) -> None:
        self.clock = FakeClock()
        self.told: list[LogLine] = []
        self.peers = UntrustedPeers(self._told, self.clock, trusts_others)

    def _told(self, message: FromWorker) -> bool:
        assert isinstance(message, LogLine)
        self.told.append(message)
        return True

    def see(self, address: str, *names: str) -> int:
        """The number of reports so far."""
        fields = [Field(FORWARDING, f"{name}: x".encode()) for name in names or ("X-Forwarded-Proto",)]
        self.peers.seen(address, fields)
        return len(self.told)


def test_an_untrusted_proxy_is_reported_once_with_the_setting(harness: Harness) -> None:
    for _ in range(3):
        client = harness.ask(SPOOFED)
        harness.answer()
        harness.ask(SPOOFED, client)
        harness.answer()
    (told,) = harness.only_told(LogLine)
    assert told == LogLine(
        level="warning",
        once="not trusted: 198.51.100",
        message="198.51.100.7 sends X-Forwarded-Proto, X-Forwarded-For, but is not in "
        "TRUSTED_PROXIES: the app sees 198.51.100.7 as the client and http as its scheme. If "
        "198.51.100.7 is a proxy of yours, set BALANCER_TRUSTED_PROXIES=198.51.100.7; otherwise, "
        "if that proxy terminates TLS, an app that redirects http to https redirects forever",
    )


@pytest.mark.parametrize("trusted", [["198.51.100.7"], ["192.0.2.1"]], ids=["trusted", "another is"])
def test_a_trusted_peer_is_not_reported(make_harness: MakeHarness, trusted: list[str]) -> None:
    harness = make_harness(trusted_proxies=trusted)
    harness.ask(SPOOFED)
    harness.answer()
    remedies = [
        "; otherwise" in one.message and "add it to BALANCER_TRUSTED" in one.message
        for one in harness.only_told(LogLine)
    ]
    assert remedies == ([] if trusted == ["198.51.100.7"] else [True])


def test_an_ordinary_client_is_not_reported(harness: Harness) -> None:
    harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: 1\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n")
    harness.answer()
    assert harness.told == []


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("10.0.0.1", "10.0.0.200", False),
        ("10.0.0.1", "10.0.1.1", True),
        ("fd00::1", "fd00::2:0:0:1", False),
        ("fd00::1", "fd00:0:0:1::1", True),
    ],
)
def test_each_private_network_is_reported_once(first: str, second: str, both: bool) -> None:
    harness = Peers()
    harness.see(first)
    assert harness.see(second) == 1 + both
    harness.clock.advance(HOUR)
    assert harness.see(first) == 1 + both
    assert {one.level for one in harness.told} == {"warning"}


def test_at_most_a_hundred_private_networks_are_reported() -> None:
    harness = Peers()
    for number in range(200):
        harness.see(f"10.0.{number}.1")
    assert len(harness.told) == 100


def test_at_most_one_public_peer_an_hour_is_reported() -> None:
    harness = Peers()
    assert [harness.see(f"8.8.{number}.8") for number in range(3)] == [1, 1, 1]
    harness.clock.advance(HOUR - 1)
    assert harness.see("8.8.9.8") == 1
    assert harness.see("10.0.0.1") == 2
    harness.clock.advance(1)
    assert harness.see("2606:4700::1") == 3
    assert [one.level for one in harness.told] == ["info", "warning", "info"]
    assert harness.told[-1].once == "not trusted: 2606:4700:0000:0000"


def test_reports_are_bounded_and_contain_no_values() -> None:
    harness = Peers()
    harness.see("10.0.0.1", "X-Forwarded-" + "a" * 100, *(f"X-Forwarded-{n}" for n in range(9)))
    (told,) = harness.told
    start = (
        f"10.0.0.1 sends X-Forwarded-{'a' * 28}, X-Forwarded-0, X-Forwarded-1, X-Forwarded-2 and 6 more, but"
    )
    assert told.message.startswith(start)


def test_a_peer_without_an_address_is_not_reported() -> None:
    assert Peers().see("") == 0
