"""Workers that were killed, and whose failures are theirs."""

from collections.abc import Iterable
from dataclasses import dataclass

OWN = 5.0  # seconds after a kill within which its clients have seen the reset


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed: when, by the monotonic clock, and the clients that were connected to it."""

    at: float
    clients: frozenset[str]


def is_own(client: str, ended: float, kills: Iterable[Kill]) -> bool:
    """Whether what has ended for this client is a killed worker's own."""
    return any(client in kill.clients and kill.at <= ended <= kill.at + OWN for kill in kills)
