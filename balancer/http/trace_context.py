"""What clients say of a request's trace: `traceparent` and `tracestate` (W3C Trace Context).

Only read where traces are on: otherwise both fields are forwarded like any other. A `traceparent` that is not
valid counts as none, and `tracestate` counts only with a valid one.
"""

import re
from collections.abc import Sequence
from typing import Final

# Section 3.2 of the recommendation. In versions to come more may follow behind another dash.
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_VERSION: Final = b"ff"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
SAMPLED: Final = 1
# Besides it, that the trace id is random (level 2 of the specification); others are to be set to 0.
_KNOWN_FLAGS: Final = 3
# Section 3.3.1; level 2 lets keys begin with a digit.
_ENTRY: Final = re.compile(
    rb"([a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
_MOST_ENTRIES: Final = 32


class TraceContext:
    """A position in a trace: `trace_id` and `span_id` in hex digits; `state` is the value of `tracestate`,
    b"" for none."""

    __slots__ = ("flags", "span_id", "state", "trace_id")

    def __init__(self, trace_id: bytes, span_id: bytes, flags: int, state: bytes = b"") -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.state = state

    @property
    def sampled(self) -> bool:
        """Whether its spans are recorded."""
        return self.flags & SAMPLED != 0

    def lines(self) -> bytes:
        """The header lines that pass it on, in the version known here, each behind a CRLF."""
        line = b"\r\ntraceparent: 00-%b-%b-%02x" % (self.trace_id, self.span_id, self.flags)
        return b"%b\r\ntracestate: %b" % (line, self.state) if self.state else line


def context_in(parent: bytes, states: Sequence[bytes] = ()) -> TraceContext | None:
    """What these values of `traceparent` and of all `tracestate` fields say; None if the first is invalid."""
    match = _PARENT.fullmatch(parent)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _NO_VERSION or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    if rest is not None and version == b"00":
        return None
    return TraceContext(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state_in(states) if states else b"")


def state_in(values: Sequence[bytes]) -> bytes:
    """The values of all `tracestate` fields as one, otherwise as they came; b"" if it is not valid."""
    state = b",".join([value for value in values if value])
    keys = set()
    for each in state.split(b","):
        entry = each.strip(b" \t")
        if not entry:
            continue
        match = _ENTRY.fullmatch(entry)
        if match is None or match[1] in keys:
            return b""
        keys.add(match[1])
    return state if 0 < len(keys) <= _MOST_ENTRIES else b""
