"""Rows of the stats segment as the counts of the dashboard (L7). Pure."""

from array import array
from collections.abc import Sequence

from balancer.overview.figures import Counts
from balancer.runtime.tally import codes_of, first_bytes
from balancer.telemetry import columns as c

_FIRST_4XX, _FIRST_5XX = c.CODES.index("400"), c.CODES.index("500")
_END_5XX = c.CODES.index(c.OTHER_5XX) + 1
_HISTOGRAM = slice(c.UPSTREAM_FIRST_BYTE, c.UPSTREAM_FIRST_BYTE + c.HISTOGRAM_CELLS)


def of_side(cells: Sequence[int]) -> Counts:
    """A side of a route. Times are those until the response began, waits and retries included."""
    codes = codes_of(cells)
    return Counts(
        requests=sum(codes.values()),
        errors=sum(count for code, count in codes.items() if code[0] == "5") + cells[c.ROUTE_BROKEN_OFF],
        client_errors=sum(count for code, count in codes.items() if code[0] == "4"),
        retries=cells[c.ROUTE_RETRIES],
        received=cells[c.ROUTE_REQUEST_BYTES],
        sent=cells[c.ROUTE_RESPONSE_BYTES],
        cells=array("q", first_bytes(cells)),
    )


def of_upstream(cells: Sequence[int]) -> Counts:
    """An upstream. Times are those from the request sent until its response began. Bytes are not counted by
    upstream."""
    return Counts(
        requests=sum(cells[: len(c.CODES)]),
        errors=sum(cells[_FIRST_5XX:_END_5XX]),
        client_errors=sum(cells[_FIRST_4XX:_FIRST_5XX]),
        retries=0,
        received=0,
        sent=0,
        cells=array("q", cells[_HISTOGRAM]),
    )
