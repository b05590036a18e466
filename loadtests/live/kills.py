"""Workers that were killed, and whose failures are theirs."""

from collections.abc import Iterable
from dataclasses import dataclass

OWN = 5.0  # seconds after a kill within which its clients have seen the reset


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed: when, by the monotonic clock, and the clients that were connected to it."""

    at: float
    clients: frozenset[str]


def ended_by(client: str, begun: float, ended: float, kills: Iterable[Kill]) -> bool:
    """Whether what was open for this client was a killed worker's.

    A slow reader sees that later: first comes what the kernel has of it.
    """
    return any(client in kill.clients and begun <= kill.at <= ended for kill in kills)


def reset_by(client: str, ended: float, kills: Iterable[Kill]) -> bool:
    """Whether a request that failed was a killed worker's: it ran there, or was sent before the client saw
    the reset."""
    return any(client in kill.clients and kill.at <= ended <= kill.at + OWN for kill in kills)
