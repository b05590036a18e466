"""Every raw response of the corpus has its verdict from the real connection, however its bytes arrive."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.cases import Case, cuts, read_cases
from tests.corpus.mutations import mutations
from tests.corpus.responses_driver import Recorder, Response, Setup, setup_of, verdict_of

CASES = read_cases("responses.txt")
every_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


def observe(case: Case, pieces: list[bytes]) -> Response:
    return Recorder(setup_of(case)).run(pieces)


def check(case: Case, seen: Response) -> None:
    verdict = verdict_of(case)
    wanted = verdict.response
    for name in ("informational", "begun", "ended", "reusable", "failure", "switched", "trailers"):
        assert getattr(seen, name) == getattr(wanted, name), name
    if wanted.status:
        assert (seen.status, seen.framing) == (wanted.status, wanted.framing)
    if seen.begun and seen.failure:  # bytes that arrive with a fault may not be passed on
        assert wanted.body.startswith(seen.body)
    else:
        assert seen.body == wanted.body
    for line in verdict.keeps:
        assert line in seen.lines
    for start in verdict.drops:
        assert not [line for line in seen.lines if line.lower().startswith(start)]


def test_the_corpus_is_large_and_its_ids_are_unique() -> None:
    assert len(CASES) >= 100
    assert len({case.id for case in CASES}) == len(CASES)


@every_case
def test_responses_in_one_piece(case: Case) -> None:
    check(case, observe(case, [case.sent]))


@every_case
def test_responses_in_two_pieces_and_byte_by_byte(case: Case) -> None:
    """Short cases are split at every byte."""
    sent = case.sent
    for cut in cuts(case, every_byte_below=400, coarse=20):
        check(case, observe(case, [sent[:cut], sent[cut:]]))
    if len(sent) < 400:
        check(case, observe(case, [sent[i : i + 1] for i in range(len(sent))]))


@settings(max_examples=200)
@given(st.sampled_from(CASES), st.data())
def test_responses_in_any_pieces(case: Case, data: st.DataObject) -> None:
    size = len(case.sent)
    places = sorted(data.draw(st.sets(st.integers(1, size), max_size=6)) | {0, size})
    check(case, observe(case, [case.sent[a:b] for a, b in pairwise(places)]))


PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\xff", b":", b",", b";", b"0", b"1",
    b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\n\n", b"\r\n\n", b"\n\r\n", b" :", b"\r\n ", b"HTTP/1.0 200 OK\n\n", b"HTTP/1.1 103 X\nA : b\n\n",
    b"00",
]  # fmt: skip


@settings(max_examples=300)
@given(mutations(CASES, PIECES))
def test_damaged_responses(mutation: tuple[Case, bytes, int]) -> None:
    """Whatever an upstream sends has the same result however it arrives, and lines contain no line ends."""
    case, sent, cut = mutation
    whole = observe(case, [sent] if sent else [])
    split = observe(case, [piece for piece in (sent[:cut], sent[cut:]) if piece])
    if whole.begun and whole.failure:  # bytes that arrive with a fault may not be passed on
        whole = replace(whole, body=split.body)
    if "response_head_too_large" in (whole.failure, split.failure) and not whole.begun:
        split = replace(split, failure=whole.failure)  # too large or malformed, whichever is seen first
    assert split == whole
    for line in whole.lines:
        assert not set(line) & set(b"\r\n\0")
    if whole.ended and whole.framing.startswith("length"):
        assert len(whole.body) == int(whole.framing.split()[1])


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", id="length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            id="chunked",
        ),
    ],
)
@pytest.mark.parametrize("end", ["close", "reset", "broken pipe"])
def test_truncation_is_detected_at_every_byte(sent: bytes, end: str) -> None:
    head_end = sent.index(b"\r\n\r\n") + 4
    for size in range(1, len(sent)):
        seen = Recorder(Setup(end=end)).run([sent[:size]])
        assert not seen.ended
        assert seen.begun is (size >= head_end)
        assert seen.failure == ("response_truncated" if seen.begun else "upstream_closed")
