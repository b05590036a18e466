"""However an app reads the path that it gets, it belongs to the route by which it came: random paths."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.errors import ProtocolError
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import parse_request_head
from balancer.proxy.route_table import RouteTable
from balancer.spec.worker import MatchSpec
from tests.corpus.readings import READINGS, merged, taken_for

PEER = Forwarding([]).peer("192.0.2.1")
PIECES = st.sampled_from(
    b"admin api x %61dmin Admin / / / // . .. %2e %2E%2e %2F %2f ; ;v=1 %3b %25 %252e %252f %3f %23 ? %5c \\ "
    b"%00 %0a %20 %C3%A9 %c0%af % %zz @ : + *".split()
)
TARGETS = st.lists(PIECES, max_size=10).map(lambda pieces: b"/" + b"".join(pieces))
PREFIXES = ["/admin", "/api", "/api/admin", "/x/api", "/admin/x", "/caf\u00e9"]
ROUTES = st.lists(st.tuples(st.booleans(), st.sampled_from(PREFIXES)), min_size=1, max_size=4, unique=True)


def match_of(route: tuple[bool, str]) -> MatchSpec:
    is_exact, path = route
    return MatchSpec(path=path) if is_exact else MatchSpec(path_prefixes=(path,))


def by_walking(routes: Sequence[tuple[bool, str]], path: bytes) -> int:
    """The plain meaning of the settings for a decoded path; the last route has no match."""
    for number, (is_exact, text) in enumerate(routes):
        wanted = text.encode()
        if path == wanted or (not is_exact and path.startswith(wanted + b"/")):
            return number
    return len(routes)


def asked(routes: Sequence[tuple[bool, str]], target: bytes) -> tuple[int, bytes] | None:
    """The number of the route, and what is forwarded; None if it is refused."""
    table = RouteTable([*map(match_of, routes), MatchSpec()])
    try:
        head = parse_request_head(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, 8192, 100)
        return table.number_of(head, PEER), head.target
    except ProtocolError:
        return None


@given(ROUTES, TARGETS)
@example([(False, "/admin")], b"//x/admin")
@example([(False, "/admin")], b"/;a%2Fadmin")
@example([(False, "/admin")], b"/x/..//y/admin")
def test_no_reading_of_what_is_forwarded_is_of_another_route(
    routes: list[tuple[bool, str]], target: bytes
) -> None:
    found = asked(routes, target)
    if found is None:
        return
    number, forwarded = found
    for name, reading in READINGS.items():
        seen = reading(forwarded)
        for path in () if seen is None else taken_for(seen):
            # What is not decoded is compared by its own reading, in which it is.
            if name != "raw" or b"%" not in path:
                assert by_walking(routes, path) == number, f"{forwarded!r} is {path!r} to {name}"


@given(ROUTES, TARGETS)
def test_what_is_forwarded_is_forwarded_as_it_is(routes: list[tuple[bool, str]], target: bytes) -> None:
    found = asked(routes, target)
    if found is not None:
        assert asked(routes, found[1]) == found


@pytest.mark.parametrize("name", READINGS)
def test_every_reading_takes_a_plain_path_for_itself(name: str) -> None:
    assert READINGS[name](b"/admin/x?y=/z") == b"/admin/x"
    assert taken_for(b"/admin/x") == {b"/admin/x"}
    assert merged(b"/admin/x") == b"/admin/x"
