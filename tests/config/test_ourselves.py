"""Upstreams that are this balancer itself are an error wherever that can be detected."""

import socket
from collections.abc import Mapping

import pytest

from balancer.config.address import Address, parse_listen
from balancer.config.loader import load
from balancer.config.ourselves import Ourselves, OwnListener, ourselves
from balancer.config.own_addresses import own_addresses
from balancer.errors import SettingsError

OWN = frozenset(["127.0.0.1", "::1", "10.0.0.5", "fd00::5"])


def own(listen: str, *, dual: bool = True) -> Ourselves:
    return Ourselves((OwnListener("LISTEN", parse_listen(listen)),), lambda: OWN, lambda: dual)


# LISTEN, the upstream's host, whether a connection to that host at the same port reaches LISTEN.
REACHED = [
    pytest.param("0.0.0.0:80", "127.0.0.1", True, id="every address has loopback"),
    pytest.param("0.0.0.0:80", "127.9.9.9", True, id="all of 127.0.0.0/8 is loopback"),
    pytest.param("0.0.0.0:80", "0.0.0.0", True, id="the unspecified address is this machine"),
    pytest.param("0.0.0.0:80", "10.0.0.5", True, id="one of this machine"),
    pytest.param("0.0.0.0:80", "::ffff:10.0.0.5", True, id="the same mapped into IPv6"),
    pytest.param("0.0.0.0:80", "localhost", True, id="localhost"),
    pytest.param("0.0.0.0:80", "LocalHost.", True, id="localhost in full"),
    pytest.param("0.0.0.0:80", "app.localhost", True, id="below localhost"),
    pytest.param("0.0.0.0:80", "10.0.0.6", False, id="another machine"),
    pytest.param("0.0.0.0:80", "app1", False, id="a name that is to be looked up"),
    pytest.param("0.0.0.0:80", "::1", False, id="no IPv6 on an IPv4 socket"),
    pytest.param("0.0.0.0:80", "::", False, id="nor its unspecified address"),
    pytest.param("0.0.0.0:80", "fd00::5", False, id="nor one of this machine"),
    pytest.param("[::]:80", "::1", True, id="every IPv6 address has loopback"),
    pytest.param("[::]:80", "::", True, id="IPv6 unspecified"),
    pytest.param("[::]:80", "fd00::5", True, id="an IPv6 address of this machine"),
    pytest.param("[::]:80", "10.0.0.5", True, id="both families on one socket"),
    pytest.param("[::]:80", "localhost", True, id="localhost on both"),
    pytest.param("[::]:80", "fd00::6", False, id="another machine by IPv6"),
    pytest.param("127.0.0.1:80", "127.0.0.1", True, id="the very address"),
    pytest.param("127.0.0.1:80", "localhost", True, id="its name"),
    pytest.param("127.0.0.1:80", "0.0.0.0", True, id="0.0.0.0 is 127.0.0.1"),
    pytest.param("127.0.0.1:80", "127.0.0.2", False, id="another loopback address is another socket's"),
    pytest.param("127.0.0.1:80", "10.0.0.5", False, id="not listened on"),
    pytest.param("10.0.0.5:80", "10.0.0.5", True, id="an address of its own"),
    pytest.param("10.0.0.5:80", "127.0.0.1", False, id="an app on loopback"),
    pytest.param("10.0.0.5:80", "0.0.0.0", False, id="0.0.0.0 is not 10.0.0.5"),
    pytest.param("[::1]:80", "::", True, id="IPv6 unspecified is loopback"),
    pytest.param("[::1]:80", "localhost", False, id="localhost is IPv4 first"),
]


@pytest.mark.parametrize(("listen", "host", "reached"), REACHED)
def test_whether_a_connection_reaches_our_own_listener(listen: str, host: str, reached: bool) -> None:
    assert (own(listen).at(host, 80) is not None) is reached
    assert own(listen).at(host, 81) is None


def test_an_ipv6_socket_may_be_ipv6_only() -> None:
    assert own("[::]:80", dual=False).at("127.0.0.1", 80) is None
    assert own("[::]:80", dual=False).at("::1", 80) is not None


@pytest.mark.parametrize(
    ("listen", "known"), [("0.0.0.0:80", True), ("[::]:80", True), ("10.0.0.7:80", False)]
)
def test_the_name_of_this_machine_is_recognised(listen: str, known: bool) -> None:
    assert (own(listen).at(socket.gethostname().upper(), 80) is not None) is known


def test_addresses_are_resolved_only_if_the_port_is_the_same() -> None:
    def never() -> frozenset[str]:
        raise AssertionError("asked")

    one = Ourselves((OwnListener("LISTEN", Address("0.0.0.0", 80)),), never)
    assert one.at("10.0.0.6", 81) is None


def test_an_unknown_port_is_not_ours() -> None:
    assert ourselves(Address("0.0.0.0", 0), Address("127.0.0.1", 0)).listeners == ()


def test_the_kernel_knows_the_addresses_of_this_machine() -> None:
    found = own_addresses()
    assert "127.0.0.1" in found
    for address in found:
        if "fe80" in address:
            continue  # they also need an interface
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))


# Settings, and the resulting line.
CIRCLES: list[tuple[Mapping[str, str], str]] = [
    (
        {"UPSTREAMS": "app1:8000,127.0.0.1:8080"},
        (
            'BALANCER_UPSTREAMS: "127.0.0.1:8080" is where this balancer itself listens (LISTEN '
            "0.0.0.0:8080): requests would loop forever; write the app's own address, or give LISTEN "
            "another port"
        ),
    ),
    (
        {"UPSTREAMS": "localhost:81?weight=2", "LISTEN": "[::]:81"},
        'BALANCER_UPSTREAMS: "localhost:81" is where this balancer itself listens (LISTEN [::]:81)',
    ),
    (
        {"UPSTREAMS": "http://0.0.0.0", "LISTEN": ":80"},
        'BALANCER_UPSTREAMS: "0.0.0.0:80" is where this balancer itself listens (LISTEN 0.0.0.0:80)',
    ),
    (
        {"UPSTREAMS": "dns://localhost:8080"},
        'BALANCER_UPSTREAMS: "dns://localhost:8080" is where this balancer itself listens',
    ),
    (
        {"UPSTREAMS": "127.0.0.1:9901"},
        'BALANCER_UPSTREAMS: "127.0.0.1:9901" is where its own admin API listens '
        "(ADMIN_LISTEN 127.0.0.1:9901): requests would loop forever",
    ),
    (
        {"UPSTREAMS": "127.0.0.1:8000", "HEALTH_CHECK__PORT": "9901"},
        (
            "BALANCER_HEALTH_CHECK__PORT: 9901 makes the checks of 127.0.0.1:8000 go to this balancer "
            "itself (ADMIN_LISTEN 127.0.0.1:9901); write the app's port, or 0 for the upstream's own"
        ),
    ),
]


@pytest.mark.parametrize(
    ("environ", "line"), [pytest.param(*each, id=",".join(each[0].values())) for each in CIRCLES]
)
def test_upstreams_that_lead_back_are_an_error(environ: Mapping[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"BALANCER_{name}": value for name, value in environ.items()})
    (problem,) = caught.value.problems
    assert problem.startswith(line)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"UPSTREAMS": "127.0.0.1:8000"}, id="another port"),
        pytest.param({"UPSTREAMS": "127.0.0.1:8080", "LISTEN": "10.1.2.3:8080"}, id="another address"),
        pytest.param(
            {"UPSTREAMS": "127.0.0.1:80", "HEALTH_CHECK__PORT": "8080", "HEALTH_CHECK__ENABLED": "false"},
            id="checks are off",
        ),
        pytest.param({"UPSTREAMS": "192.0.2.77:8080"}, id="another machine"),
    ],
)
def test_upstreams_that_lead_elsewhere_are_accepted(environ: Mapping[str, str]) -> None:
    load({f"BALANCER_{name}": value for name, value in environ.items()})
