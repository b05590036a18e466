"""Every raw request of the corpus has its verdict from the real proxy, however its bytes arrive."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.cases import Case, cuts, read_cases
from tests.corpus.mutations import mutations
from tests.corpus.requests_driver import Observation, RequestBench, Verdict, verdict_of

CASES = read_cases("requests.txt")
LASTING = [case for case in CASES if case.verdict[-1].split()[0] not in ("closes", "reject", "waits")]
STATUSES = {200, 400, 413, 414, 431, 501, 505}
every_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


@pytest.fixture
def bench(case: Case) -> Iterator[RequestBench]:
    bench = RequestBench(case)
    yield bench
    bench.close()


def check(verdict: Verdict, seen: Observation) -> None:
    accepted = [(one.method, one.target, one.framing, one.body, one.trailers) for one in seen.forwarded]
    assert accepted == list(verdict.accepted)
    for index, line in verdict.keeps:
        assert line in seen.forwarded[index].fields
    for index, start in verdict.drops:
        assert not [line for line in seen.forwarded[index].fields if line.lower().startswith(start)]
    refusal = () if verdict.rejected is None else (verdict.rejected,)
    assert seen.statuses == (200,) * len(verdict.accepted) + refusal
    assert seen.open is (verdict.rejected is None and not verdict.closes)


def test_the_corpus_is_large_and_its_ids_are_unique() -> None:
    assert len(CASES) >= 200
    assert len({case.id for case in CASES}) == len(CASES)


@every_case
def test_requests_in_one_piece(case: Case, bench: RequestBench) -> None:
    check(verdict_of(case), bench.run([case.sent]))


@every_case
def test_requests_in_two_pieces_and_byte_by_byte(case: Case, bench: RequestBench) -> None:
    """Short cases are split at every byte; the observation must be the same each time."""
    sent = case.sent
    whole = _without_request_ids(bench.run([sent]))
    for cut in cuts(case, every_byte_below=400, coarse=20):
        assert _without_request_ids(bench.run([sent[:cut], sent[cut:]])) == whole, f"cut at {cut}"
    if len(sent) < 400:
        assert _without_request_ids(bench.run([sent[i : i + 1] for i in range(len(sent))])) == whole


@pytest.mark.parametrize("case", LASTING, ids=[case.id for case in LASTING])
def test_requests_again_on_the_same_connection(case: Case, bench: RequestBench) -> None:
    """What a connection remembers of one request does not change the next."""
    once = _without_request_ids(bench.run([case.sent])).forwarded
    twice = _without_request_ids(bench.run([case.sent, case.sent + case.sent]))
    assert twice.forwarded == once * 3
    assert twice.open


@settings(max_examples=200)
@given(st.sampled_from(CASES), st.data())
def test_requests_in_any_pieces(case: Case, data: st.DataObject) -> None:
    size = len(case.sent)
    places = sorted(data.draw(st.sets(st.integers(1, size), max_size=6)) | {0, size})
    bench = RequestBench(case)
    try:
        pieces = [case.sent[a:b] for a, b in pairwise(places)]
        check(verdict_of(case), bench.run(pieces))
    finally:
        bench.close()


PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b"\x0b", b"\xff", b":", b",", b";", b"#",
    b"/", b"0", b"1", b"Host: b\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b" HTTP/1.1",
    b"http://b", b"\n\n", b"\r\n\n", b"\n\r\n", b"X", b"00", b"Vary: x\r\n",
]  # fmt: skip


@settings(max_examples=300)
@given(mutations(CASES, PIECES))
def test_damaged_requests(mutation: tuple[Case, bytes, int]) -> None:
    """Whatever is sent, what is forwarded has only one meaning (the driver checks that), however it
    arrived."""
    case, sent, cut = mutation
    bench = RequestBench(case)
    try:
        whole = _without_request_ids(bench.run([sent]))
        split = _without_request_ids(bench.run([sent[:cut], sent[cut:]]))
        if 431 in whole.statuses or 431 in split.statuses:  # too large or malformed, whichever is seen first
            split = replace(split, statuses=whole.statuses)
        assert split == whole
        assert not [status for status in whole.statuses if status not in STATUSES]
    finally:
        bench.close()


def _without_request_ids(seen: Observation) -> Observation:
    """The ids differ from run to run."""
    forwarded = [
        replace(one, fields=tuple(line for line in one.fields if not line.startswith(b"X-Request-ID: ")))
        for one in seen.forwarded
    ]
    return replace(seen, forwarded=tuple(forwarded))
