"""Listening sockets: one per slot on the same port, and never a port in use by another process."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from balancer.config.address import Address
from balancer.errors import StartupError
from balancer.runtime.sockets import bound_address, open_admin, open_listeners


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def listeners(stack: ExitStack, address: Address, slots: int) -> list[socket.socket]:
    return [stack.enter_context(sock) for sock in open_listeners(address, slots)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_all_slots_listen_on_the_port_of_the_first(stack: ExitStack, host: str) -> None:
    addresses = {bound_address(sock) for sock in listeners(stack, Address(host, 0), 3)}
    assert len(addresses) == 1
    (address,) = addresses
    assert (address.host, address.port > 0) == (host, True)


def test_clients_connect_before_any_worker_accepts(stack: ExitStack) -> None:
    sockets = listeners(stack, Address("127.0.0.1", 0), 2)
    address = sockets[0].getsockname()
    clients = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
    assert {client.getpeername() for client in clients} == {address}


@pytest.mark.parametrize("reuse_port", [False, True], ids=["plain", "with SO_REUSEPORT"])
@pytest.mark.parametrize("opening", [lambda a: open_listeners(a, 1), open_admin], ids=["clients", "admin"])
def test_a_port_in_use_is_refused(stack: ExitStack, opening: object, reuse_port: bool) -> None:
    taken = stack.enter_context(socket.create_server(("127.0.0.1", 0), reuse_port=reuse_port))
    assert callable(opening)
    with pytest.raises(StartupError, match=r"cannot listen on 127\.0\.0\.1:\d+: the port is in use"):
        opening(bound_address(taken))


def test_a_second_instance_is_refused_the_port_of_the_first(stack: ExitStack) -> None:
    first = listeners(stack, Address("127.0.0.1", 0), 2)
    with pytest.raises(StartupError, match="in use"):
        open_listeners(bound_address(first[0]), 2)


def test_connections_in_time_wait_do_not_keep_a_port(stack: ExitStack) -> None:
    (first,) = open_listeners(Address("127.0.0.1", 0), 1)
    address = bound_address(first)
    with first, socket.create_connection(first.getsockname()) as client:
        first.setblocking(True)
        served, _ = first.accept()
        served.close()  # the server closes first: the TIME_WAIT is on its port
        assert client.recv(1) == b""
    listeners(stack, address, 2)


def test_an_address_of_another_machine_is_refused_with_an_explanation() -> None:
    with pytest.raises(StartupError, match=r"192\.0\.2\.1:8080: this machine does not have that address"):
        open_listeners(Address("192.0.2.1", 8080), 1)
