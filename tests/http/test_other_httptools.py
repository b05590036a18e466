"""What is served does not depend on the installed release of httptools.

Releases differ in how they parse Content-Length and Transfer-Encoding (0.6.4 refuses a tab after the number,
0.9.0 an empty Transfer-Encoding), and in the methods they know. None has accepted anything outside the
grammar; `test_head_bytes` checks that of the installed one.

Only as plain Python: compiled code does not look up again what these tests replace.
"""

import pytest
from httptools import HttpParserError

from balancer.errors import MALFORMED_RESPONSE
from balancer.http import response_head, syntax
from balancer.http.fields import NEW, RESPONSE_KINDS, FieldTable
from tests.connections.test_upstream_connection import CASES as RESPONSES
from tests.connections.test_upstream_connection import check as check_response
from tests.connections.test_upstream_connection import observe
from tests.corpus.cases import Case
from tests.corpus.requests_driver import RequestBench, verdict_of
from tests.http.test_corpus_requests import CASES as REQUESTS
from tests.http.test_corpus_requests import check as check_request

pytestmark = pytest.mark.plain


class RefusesAll:
    """The strictest possible parser."""

    def __init__(self, callbacks: object) -> None:
        pass

    def feed_data(self, data: bytes) -> None:
        raise HttpParserError("another release of httptools")


@pytest.fixture(autouse=True)
def _strictest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "HttpRequestParser", RefusesAll)
    monkeypatch.setattr(syntax, "HttpResponseParser", RefusesAll)
    # As if no line had been seen before, so that each head is checked.
    learn = FieldTable.learn
    monkeypatch.setattr(FieldTable, "learn", lambda table, line, *_: learn(table, line, remembered=False))
    monkeypatch.setattr(FieldTable, "examine", lambda table, line: NEW)
    monkeypatch.setattr(
        response_head, "RESPONSE_FIELDS", FieldTable(RESPONSE_KINDS, failure=MALFORMED_RESPONSE)
    )


@pytest.mark.parametrize("case", REQUESTS, ids=[case.id for case in REQUESTS])
def test_requests_under_other_httptools_releases(case: Case) -> None:
    bench = RequestBench(case)
    try:
        check_request(verdict_of(case), bench.run([case.sent]))
    finally:
        bench.close()


@pytest.mark.parametrize("case", RESPONSES, ids=[case.id for case in RESPONSES])
def test_responses_under_other_httptools_releases(case: Case) -> None:
    check_response(case, observe(case, [case.sent]))
