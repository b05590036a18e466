"""Plays the corpus and notes the bytes that app and client get, so that runs can be compared.

Cold: each case on a proxy of its own, which has seen nothing. Warm: on a proxy that has seen others; what it
remembers may save work, but must not change a byte. Request ids are left out, as each request has another.

    python -m tests.corpus.differential    # what each case gives, as JSON
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.corpus.cases import Case, read_cases
from tests.corpus.requests_driver import ANSWER, RequestBench, next_request
from tests.corpus.responses_driver import Setup, end, setup_of
from tests.corpus.responses_driver import verdict_of as response_verdict_of
from tests.fakes.wire import FakeTransport, Wire, start_message

REQUESTS = read_cases("requests.txt")
RESPONSES = [case for case in read_cases("responses.txt") if "upgrading" not in case.setup]

_OUR_ID = re.compile(rb"\b(?!0{16})[0-9a-f]{16}0000[0-9a-f]{8}\b")  # 16 digits of the worker, 12 of a counter
_ID = b"<id>"
_LETTERS = b"abcxyz0189"
_PROBE = b"GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Play:
    """The bytes that the app and the client got, and the state of the client's connection."""

    app: bytes
    client: bytes
    state: str

    def __str__(self) -> str:
        return f"to the app: {self.app!r}\n to the client: {self.client!r}\n {self.state}"


def _without_ids(data: bytes) -> bytes:
    return _OUR_ID.sub(_ID, data)


def _state_of(client: FakeTransport) -> str:
    states = {"aborted": client.aborted, "closed": client.closed, "FIN": client.eof_written}
    return " ".join(name for name, holds in states.items() if holds) or "open"


class _Marks:
    """How much has been written to each upstream connection so far."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sizes = {id(one): len(one.written) for one in wire.loop.transports}

    def since(self) -> bytes:
        return b"".join(
            bytes(one.written[self._sizes.get(id(one), 0) :]) for one in self._wire.loop.transports
        )


class RequestStage:
    """A proxy with the settings of a case, in front of an app that answers every whole request with 200."""

    def __init__(self, case: Case) -> None:
        self.wire = RequestBench(case).wire
        self._client: FakeTransport | None = None

    def play(self, pieces: Sequence[bytes]) -> Play:
        """`pieces` arrive on the client's connection, a new one if it has left."""
        wire = self.wire
        client = self._client = self._client or wire.connect()
        marks = _Marks(wire)
        for piece in pieces:
            client.receive(piece)
            self._answer()
        assert wire.logs == []
        return Play(_without_ids(marks.since()), _without_ids(client.take()), _state_of(client))

    def leave(self) -> None:
        """The client leaves."""
        if self._client is not None:
            self._client.lose()
            self.wire.settle()
            self._client = None

    def close(self) -> None:
        self.wire.close()

    def _answer(self) -> None:
        wire = self.wire
        wire.settle()
        for upstream in list(wire.loop.transports):
            while not upstream.is_closing() and (request := next_request(upstream)) is not None:
                upstream.receive(ANSWER if request.method == b"HEAD" else ANSWER + b"ok")
                wire.settle()


@dataclass(frozen=True)
class Cold:
    """What a case gives on a proxy that has seen nothing; `rests`: another request may follow on the same
    connection."""

    case: Case
    pieces: tuple[bytes, ...]
    play: Play
    rests: bool


def cold(case: Case, *pieces: bytes) -> Cold:
    """`pieces` are what is sent; without them, all that the case sends at once."""
    pieces = pieces or (case.sent,)
    stage = RequestStage(case)
    play = stage.play(pieces)
    probe = stage.play([_PROBE])
    stage.close()
    rests = probe.app.startswith(b"GET /probe HTTP/1.1\r\n") and probe.client.count(b"HTTP/1.1 ") == 1
    return Cold(case, pieces, play, rests and play.state == "open")


def warm(case: Case, plays: Iterable[Cold]) -> Iterator[tuple[Cold, Play]]:
    """The same on one proxy with the settings of `case`, one after the other, on one connection as far as it
    lasts."""
    stage = RequestStage(case)
    for one in plays:
        yield one, stage.play(one.pieces)
        if not one.rests:
            stage.leave()
    stage.close()


def nearly(case: Case, random: Random, count: int) -> list[Case]:
    """Cases that send nearly the same: another letter or digit here and there."""
    places = [at for at, byte in enumerate(case.sent) if byte in _LETTERS or chr(byte).isalnum()]
    made = []
    for _ in range(count if places else 0):
        sent = bytearray(case.sent)
        for at in random.sample(places, min(len(places), random.randint(1, 2))):
            sent[at] = random.choice(_LETTERS)
        made.append(replace(case, sent=bytes(sent)))
    return made


def by_settings(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases that can be played on the same proxy."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(case.setup, []).append(case)
    return list(groups.values())


class ResponseStage:
    """A proxy whose app answers with the responses of cases; each client comes once, for one request."""

    def __init__(self, setup: Setup) -> None:
        limits = {"header_bytes": setup.header_bytes, "header_count": setup.header_count}
        self.wire = Wire(start_message(1, limits=limits))

    def play(self, case: Case) -> Play:
        """The response goes out on a connection that is idle, if there is one."""
        wire, setup = self.wire, setup_of(case)
        marks, client = _Marks(wire), wire.connect()
        version = b"HTTP/1.0\r\nConnection: keep-alive" if setup.client_minor == 0 else b"HTTP/1.1"
        client.receive(
            b"%b / %b\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n" % (setup.method, version)
        )
        wire.settle()
        upstream = wire.upstream
        upstream.receive(case.sent)
        wire.settle()
        end(upstream, setup.end)
        wire.settle()
        assert wire.logs == []
        play = Play(_without_ids(marks.since()), _without_ids(client.take()), _state_of(client))
        client.lose()
        wire.settle()
        return play

    def renew(self) -> None:
        """The next response goes out on a new connection: a failure on an idle one would be tried again."""
        for upstream in self.wire.loop.transports:
            upstream.receive_eof()
        self.wire.settle()

    def close(self) -> None:
        self.wire.close()


def is_whole(case: Case) -> bool:
    """Whether the app's response is whole, so that no other attempt is made."""
    return response_verdict_of(case).response.ended


def cold_response(case: Case) -> Play:
    """On a proxy that has seen nothing."""
    stage = ResponseStage(setup_of(case))
    play = stage.play(case)
    stage.close()
    return play


def warm_responses(cases: Iterable[Case]) -> Iterator[tuple[Case, Play]]:
    """One after the other on one proxy, with the settings of the first."""
    stage: ResponseStage | None = None
    for case in cases:
        stage = stage or ResponseStage(setup_of(case))
        if not is_whole(case):
            stage.renew()
        yield case, stage.play(case)
    if stage is not None:
        stage.close()


def all_cold() -> dict[str, list[str]]:
    """What each case gives: its name -> what the app and the client get, and the state of the connection."""
    plays = {f"request {case.id}": cold(case).play for case in REQUESTS}
    plays |= {f"response {case.id}": cold_response(case) for case in RESPONSES}
    return {
        name: [play.app.decode("latin-1"), play.client.decode("latin-1"), play.state]
        for name, play in plays.items()
    }


if __name__ == "__main__":
    json.dump(all_cold(), sys.stdout)
