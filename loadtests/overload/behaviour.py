"""A replica's behaviour, and the line of JSON that sets it."""

import json
from dataclasses import asdict, dataclass

PLAIN = "/r/"  # takes the replica's service time
SLOW = "/slow/"  # takes SLOW_TIME of the same backlog
POLL = "/poll/"  # is answered after POLL_TIME, and occupies no slot
STREAM = "/stream/"  # begins at once and lasts STREAM_TIME, and occupies no slot
SLOW_TIME = 2.0  # seconds
POLL_TIME = 3.0
STREAM_TIME = 3.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Works on `at_once` requests at a time (0: on all), each in `service` seconds; the others wait in its
    backlog.

    With `notices` it skips requests in its backlog whose clients have left; a sync server does not.
    Every `pause_every` seconds (0: never) it stops for `pause` seconds, as in a garbage collection.
    """

    at_once: int = 2
    service: float = 0.02
    notices: bool = False
    pause: float = 0.0
    pause_every: float = 0.0


def encode(behaviour: Behaviour) -> bytes:
    """The line that sets it."""
    return json.dumps(asdict(behaviour)).encode() + b"\n"


def decode(line: bytes) -> Behaviour:
    """Parse the line of `encode`."""
    return Behaviour(**json.loads(line))
