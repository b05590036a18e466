"""How many connections the checks of an instance may have together (L5)."""

from abc import ABC, abstractmethod
from itertools import islice


class Tenant(ABC):
    """Has at most one connection: during a check, and while it keeps it for the next one."""

    @abstractmethod
    def hang_up(self) -> None:
        """Close the kept connection."""


class Room:
    """At most `most` connections: for a new one, the one that has been kept longest is closed."""

    __slots__ = ("_checking", "_keeping", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._checking: set[Tenant] = set()
        self._keeping: dict[Tenant, None] = {}  # the longest kept connection first

    def enter(self, tenant: Tenant) -> bool:
        """Whether it may have a connection now; if so, it calls `leave` at the end of its check."""
        self._keeping.pop(tenant, None)
        if len(self._checking) >= self._most:
            return False
        self._checking.add(tenant)
        surplus = max(0, len(self._checking) + len(self._keeping) - self._most)
        for oldest in list(islice(self._keeping, surplus)):
            del self._keeping[oldest]
            oldest.hang_up()
        return True

    def leave(self, tenant: Tenant, *, keeps: bool) -> None:
        """Its check has ended; `keeps`: it keeps its connection for the next one."""
        self._checking.discard(tenant)
        if keeps:
            self._keeping[tenant] = None

    def closed(self, tenant: Tenant) -> None:
        """It has no connection any more."""
        self._keeping.pop(tenant, None)
