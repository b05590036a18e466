"""How a replica works, and the line of JSON that tells it so."""

import json
from dataclasses import asdict, dataclass

PLAIN = "/r/"  # takes the replica's service time
SLOW = "/slow/"  # takes SLOW_TIME of the same backlog
POLL = "/poll/"  # is answered after POLL_TIME, and occupies nobody
STREAM = "/stream/"  # begins at once and lasts STREAM_TIME, and occupies nobody
SLOW_TIME = 2.0  # seconds
POLL_TIME = 3.0
STREAM_TIME = 3.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Works on `at_once` requests at a time (0: on all), each in `service` seconds; the others wait in its
    backlog.

    One that `notices` who has left passes over those in its backlog; a sync server does not.
    Every `pause_every` seconds (0: never) nothing happens for `pause` seconds, as in a garbage collection.
    """

    at_once: int = 2
    service: float = 0.02
    notices: bool = False
    pause: float = 0.0
    pause_every: float = 0.0


def encode(behaviour: Behaviour) -> bytes:
    """The line that tells it."""
    return json.dumps(asdict(behaviour)).encode() + b"\n"


def decode(line: bytes) -> Behaviour:
    """What `encode` wrote."""
    return Behaviour(**json.loads(line))
