"""A replica's behaviour, and the line of JSON that sets it."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

SERVICE_TIME = 0.008  # seconds
ERROR_TIME = 0.001  # an error takes less time than work


class Answer(StrEnum):
    """What happens to a request that was read."""

    WHOLE = "whole"
    HALF = "half"  # the connection ends in the middle of the body
    RESET = "reset"  # the connection is reset instead of an answer
    NEVER = "never"


class Door(StrEnum):
    """What happens to connections."""

    OPEN = "open"
    CLOSED = "closed"  # refused; idle ones are closed, busy ones after their response
    FULL = "full"  # SYNs are swallowed by a full backlog, and nothing is read from open connections


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The whole behaviour; the defaults are a healthy replica. `delay` in seconds."""

    answer: Answer = Answer.WHOLE
    status: int = 200
    delay: float = SERVICE_TIME
    healthy_check: bool = False  # the health check passes whatever happens to other requests
    door: Door = Door.OPEN


HEALTHY = Behaviour()


def encode(behaviour: Behaviour) -> bytes:
    """The line that sets it."""
    return json.dumps(asdict(behaviour)).encode() + b"\n"


def decode(line: bytes) -> Behaviour:
    """Parse the line of `encode`."""
    values = json.loads(line)
    return Behaviour(
        Answer(values["answer"]),
        values["status"],
        values["delay"],
        values["healthy_check"],
        Door(values["door"]),
    )
