"""One line of the access log in the combined format (L2), as Apache and nginx write it, for tools that read
theirs.

`client - - [time] "request line" status bytes "referer" "user agent"`. Bytes that could break a line or a
field are written as \\xHH, as nginx does.
"""

from datetime import UTC, datetime
from typing import Final

from balancer.http.headers import values_in
from balancer.telemetry.log_entry import Entry
from balancer.telemetry.log_line import MAX_VALUE

_AGENT_AND_REFERER: Final = (b"user-agent", b"referer")
_ESCAPED: Final[dict[int, str]] = {
    code: f"\\x{code:02X}" for code in (*range(0x20), ord('"'), ord("\\"), *range(0x7F, 0x100))
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class CombinedRenderer:
    """Renders lines of a fixed form."""

    __slots__ = ("_second", "_time")

    def __init__(self) -> None:
        self._second = -1
        self._time = ""

    def render(self, entry: Entry) -> str:
        """The line, without newline; it has no control characters."""
        second = int(entry.wall)
        if second != self._second:
            self._second = second
            at = datetime.fromtimestamp(second, UTC)
            self._time = f"{at:%d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000"
        head = entry.head
        if head is None:
            client, request, agent, referer = entry.peer.address, "-", "-", "-"
        else:
            client = entry.peer.client_address(head)
            request = f"{_text(head.method)} {_text(head.target)} HTTP/1.{head.minor}"
            agent, referer = [_text(value) for value in values_in(head.forwarded_block(), _AGENT_AND_REFERER)]
        return (
            f'{client} - - [{self._time}] "{request}" {entry.status} {entry.response_bytes} '
            f'"{referer}" "{agent}"'
        )


def _text(value: bytes | None) -> str:
    if value is None:
        return "-"
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + b"..."
    return value.decode("latin-1").translate(_ESCAPED)
