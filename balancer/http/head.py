"""What the heads of requests and responses have in common: their end, and what Connection says.

`request_head` and `response_head` parse them. httptools checks the syntax and `fields` interprets single
lines; there they are combined: the start line of RFC 9112, the fields that frame the message, and the lines
to forward. These stay byte for byte as received, except the framing fields, which are rewritten in our own
words.
"""

from typing import Final

from balancer.errors import (
    Failure,
    ProtocolError,
)
from balancer.http.fields import (
    MOST_MEMBERS,
    Field,
)

HEAD_END: Final = b"\r\n\r\n"
KEEP_ALIVE: Final = [b"keep-alive"]


def repeated(field: Field, failure: Failure) -> Field:
    """Refuse a second field of a kind that must be the only one."""
    raise ProtocolError(failure, f"more than one {field.name.decode()} field")


def joined(options: list[bytes], field: Field, failure: Failure) -> list[bytes]:
    """The options of one more Connection field. Raises ProtocolError if they are too many."""
    if len(options) + len(field.members) > MOST_MEMBERS:
        raise ProtocolError(failure, f"more than {MOST_MEMBERS} members in connection")
    return options + field.members


def persists(options: list[bytes], minor: int) -> bool:
    """RFC 9112 section 9.3."""
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)
