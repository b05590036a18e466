"""Header fields a proxy has business with: which they are, and what Connection says about them.

All other fields are forwarded byte for byte and never looked at.
"""

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TOKEN = re.compile(TOKEN)

# Set here for every request; a client can neither keep them from the app by nominating them in Connection
# nor, unless it is a trusted proxy, choose their value. Framing and Host are protected for the same reason.
PROTECTED = frozenset(
    b"""host content-length transfer-encoding x-forwarded-for x-forwarded-proto x-forwarded-host forwarded via
    x-request-id date""".split()
)


def connection_options(value: bytes) -> list[bytes]:
    """The members of a Connection (or other token list) value, in lower case; empty members are skipped."""
    return [option for part in value.lower().split(b",") if (option := part.strip(b" \t"))]


def is_token(value: bytes) -> bool:
    """Whether `value` is a token of RFC 9110 section 5.6.2."""
    return _TOKEN.fullmatch(value) is not None


def nominated_lines(head: bytes, names: list[bytes]) -> list[tuple[int, int]]:
    """Where the lines of the fields that Connection nominates stand in `head`: (start, end) with the CRLF.

    Protected fields are left alone: nominating them does nothing. A cold path: hardly any client nominates.
    """
    wanted = [re.escape(name) for name in names if name not in PROTECTED and is_token(name)]
    if not wanted:
        return []
    pattern = re.compile(rb"(?<=\n)(?:%b):[^\n]*\n" % b"|".join(wanted), re.IGNORECASE)
    return [match.span() for match in pattern.finditer(head)]
