"""How a replica behaves, and how it is told to: a line of JSON over a Unix socket, answered when done."""

import json
import socket
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

SERVICE_TIME = 0.008  # seconds
ERROR_TIME = 0.001  # an error takes less time than the work
PATIENCE = 5.0  # seconds


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


def tell(control: Path, behaviour: Behaviour) -> None:
    """Tell the replica behind a control socket; returns when it behaves so."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(control))
        connection.sendall(encode(behaviour))
        if connection.recv(16) != b"done\n":
            raise ConnectionError(f"the replica did not say that it is done ({control})")
