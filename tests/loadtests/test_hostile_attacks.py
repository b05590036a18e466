"""The bytes of the attacks and of the hostile app's responses are as described."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from balancer.errors import MALFORMED_REQUEST, MALFORMED_RESPONSE, ProtocolError
from balancer.http.chunked import ChunkedDecoder
from balancer.http.request_head import parse_request_head
from loadtests.hostile import options, replica
from loadtests.hostile.attacks import ATTACKS, Attack
from loadtests.hostile.balancers import BALANCERS, SLOTS, slots_for, suffers

LIMIT = 64 * 1024
TOO_MANY = "tokens"  # in Connection: that attack is refused by now, and must stay refused
NEVER_WHOLE = ("header-bytes", "admin-heads")
ALLOWED = [one for one in ATTACKS.values() if one.opening and one.name not in (TOO_MANY, *NEVER_WHOLE)]


def test_too_many_connection_tokens_are_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_request_head(ATTACKS[TOO_MANY].opening, LIMIT, 100, None)


@pytest.mark.parametrize("attack", ALLOWED, ids=lambda attack: attack.name)
def test_every_opening_is_a_valid_request(attack: Attack) -> None:
    head = parse_request_head(attack.opening, LIMIT, 100, None)
    assert head.minor == 1


@pytest.mark.parametrize("name", ["tiny-chunks", "mixed-chunks", "small-chunks", "chunks"])
def test_an_upload_is_endless_and_well_formed(name: str) -> None:
    decoder = ChunkedDecoder(MALFORMED_REQUEST, LIMIT)
    assert decoder.feed(ATTACKS[name].endless * 2)
    assert not decoder.done


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A connection to the replica's code, served by a thread as in the replica's process."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10.0)
    thread = threading.Thread(target=replica.Connection(theirs).serve, daemon=True)
    thread.start()
    with ours:
        yield ours
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_good_request_is_answered_with_its_number(peer: socket.socket) -> None:
    for number in (b"7", b"8"):
        peer.sendall(b"POST /good/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" % number)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < replica.BODY_BYTES:
            answer += peer.recv(1000)
        assert answer.partition(b"\r\n\r\n")[2].strip() == number


@pytest.mark.parametrize(
    "path", [path for path in replica.ENDLESS if path.endswith(("chunks", "extensions"))]
)
def test_a_hostile_response_is_well_formed(peer: socket.socket, path: str) -> None:
    peer.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    received = b""
    while len(received) < 100_000:
        received += peer.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" in head
    decoder = ChunkedDecoder(MALFORMED_RESPONSE, LIMIT)
    assert decoder.feed(body)
    assert not decoder.done


def test_by_default_all_attacks_run_against_ours() -> None:
    chosen = options.parse([])
    assert (chosen.attacks, chosen.balancers) == (tuple(ATTACKS), ("balancer",))


def test_other_balancers_are_attacked_if_asked_for() -> None:
    assert options.parse(["--vs", "nginx,haproxy"]).balancers == BALANCERS


def test_an_unknown_attack_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse(["--only", "nuclear"])
    assert "'nuclear' is none of tiny-chunks" in capsys.readouterr().err


def test_attacks_with_many_connections_run_against_ours_only() -> None:
    attack = replace(ATTACKS["closes-at-once"], connections=2 * SLOTS)
    assert [suffers(name, attack) for name in BALANCERS] == [name == "balancer" for name in BALANCERS]
    assert slots_for(attack) > attack.connections
