"""The sockets of an instance over reloads: those of an address that stays are kept, others are bound, but do
not listen until a worker serves them."""

import socket
from collections.abc import Callable, Iterator, Sequence

import pytest

from balancer.config.address import Address
from balancer.errors import StartupError
from balancer.runtime.listening import Listening

ANY = Address("127.0.0.1", 0)
OTHER = Address("127.0.0.2", 0)
Opened = Callable[[Sequence[Address], int], Listening]


@pytest.fixture
def opened() -> Iterator[Opened]:
    made: list[Listening] = []

    def open_them(wanted: Sequence[Address], slots: int) -> Listening:
        made.append(Listening.open(wanted, slots))
        return made[-1]

    yield open_them
    for each in made:
        each.close_unless_in()


def listens(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_sockets_of_an_address_that_stays_are_kept(opened: Opened) -> None:
    before = opened([ANY], 2)
    after = before.changed([ANY], 2)
    assert (after.descriptors, after.addresses) == (before.descriptors, before.addresses)
    before.close_unless_in(after)
    assert listens(after.addresses[0])


def test_more_slots_are_bound_and_do_not_listen(opened: Opened) -> None:
    before = opened([ANY], 1)
    after = before.changed([ANY], 3)
    assert (after.slots, len(after.descriptors), len(after.addresses)) == (3, 3, 1)
    assert after.descriptors[0] == before.descriptors[0]
    with socket.socket(fileno=after.descriptors[2]) as bound:
        assert bound.getsockname()[1] == before.addresses[0].port
        assert not bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        bound.detach()
    after.close_unless_in(before)
    assert listens(before.addresses[0])


def test_fewer_workers_have_as_many_sockets(opened: Opened) -> None:
    before = opened([ANY], 3)
    assert before.changed([ANY], 1).descriptors == before.descriptors


def test_another_address_listens_only_when_it_is_served(opened: Opened) -> None:
    before = opened([ANY], 1)
    after = before.changed([OTHER], 1)
    assert after.addresses[0].host == "127.0.0.2"
    assert not listens(after.addresses[0])
    (was,) = before.addresses
    assert listens(was)
    before.close_unless_in(after)
    assert not listens(was)
    after.close_unless_in()


def test_two_listeners_on_any_port_keep_their_own(opened: Opened) -> None:
    before = opened([ANY, ANY], 1)
    after = before.changed([ANY, ANY], 1)
    assert after.addresses == before.addresses
    assert len({*after.addresses}) == 2


def test_a_listener_comes_and_goes(opened: Opened) -> None:
    plain = opened([ANY], 2)
    both = plain.changed([ANY, OTHER], 2)
    assert both.descriptors[:2] == plain.descriptors
    again = both.changed([ANY], 2)
    both.close_unless_in(again)
    assert again.descriptors == plain.descriptors
    assert listens(again.addresses[0])


def test_listeners_may_swap_their_addresses(opened: Opened) -> None:
    before = opened([ANY, OTHER], 1)
    after = before.changed([OTHER, ANY], 1)
    assert after.descriptors == before.descriptors[::-1]


def test_our_own_port_may_be_had_on_all_addresses(opened: Opened) -> None:
    before = opened([ANY], 1)
    port = before.addresses[0].port
    wider = before.changed([Address("0.0.0.0", port)], 1)
    assert wider.addresses == [Address("0.0.0.0", port)]
    narrow = wider.changed([Address("127.0.0.1", port)], 1)
    narrow.close_unless_in()
    wider.close_unless_in()


def test_an_address_in_use_leaves_all_as_it_was(opened: Opened) -> None:
    before = opened([ANY], 1)
    with socket.create_server(("127.0.0.2", 0)) as other:
        wanted = [OTHER, Address("127.0.0.2", other.getsockname()[1])]
        with pytest.raises(StartupError, match="the port is in use"):
            before.changed(wanted, 2)
    assert listens(before.addresses[0])
    assert before.changed([ANY], 1).descriptors == before.descriptors
