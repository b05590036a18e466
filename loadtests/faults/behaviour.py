"""How a replica behaves, and the line of JSON that tells it so."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

SERVICE_TIME = 0.008  # seconds
ERROR_TIME = 0.001  # an error takes less time than the work


class Answer(StrEnum):
    """What comes of a request that was read."""

    WHOLE = "whole"
    HALF = "half"  # the connection ends in the middle of the body
    RESET = "reset"  # the connection is reset instead of an answer
    NEVER = "never"


class Door(StrEnum):
    """What comes of connections."""

    OPEN = "open"
    CLOSED = "closed"  # refused; idle ones are closed, busy ones after their response
    FULL = "full"  # SYNs are swallowed by a full backlog, and nothing is read from those that are open


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All of it; the defaults are a healthy replica. `delay` in seconds."""

    answer: Answer = Answer.WHOLE
    status: int = 200
    delay: float = SERVICE_TIME
    healthy_check: bool = False  # the health check passes whatever becomes of other requests
    door: Door = Door.OPEN


HEALTHY = Behaviour()


def encode(behaviour: Behaviour) -> bytes:
    """The line that tells it."""
    return json.dumps(asdict(behaviour)).encode() + b"\n"


def decode(line: bytes) -> Behaviour:
    """What `encode` wrote."""
    values = json.loads(line)
    return Behaviour(
        Answer(values["answer"]),
        values["status"],
        values["delay"],
        values["healthy_check"],
        Door(values["door"]),
    )
