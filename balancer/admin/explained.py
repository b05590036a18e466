"""What the admin API shows of explained requests (L6), and what can be asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from balancer.spec.explained import Explanation

MOST_WATCH: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Wish:
    """Requests to explain for `seconds`, 0 to stop. Empty fields are anything: `path` is a prefix, `host` a
    name or `*.example.com`, `client` an address or a network."""

    seconds: float
    path: str = ""
    host: str = ""
    method: str = ""
    client: str = ""
    route: str = ""

    def __str__(self) -> str:
        named = ("path", "host", "method", "client", "route")
        parts = [f"{name}={value}" for name in named if (value := getattr(self, name))]
        return " ".join(parts) or "every request"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is explained now beside failures: by a filter in words, "" for none, for `seconds` more; and a
    share of all requests."""

    watch: str
    seconds: float
    sample: float
    by_header: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """An explained request in a list."""

    request_id: str
    began: str
    why: str
    client: str
    method: str
    target: str
    host: str
    route: str
    pool: str | None
    upstream: str | None
    status: int
    reason: str | None
    attempts: int
    duration: float


class Explanations(Protocol):
    """The explanations that are kept; call it on its event loop."""

    def about(self, request_id: str) -> Sequence[Explanation]:
        """Those of requests with this id, newest first."""

    def recent(self) -> Sequence[Summary]:
        """All that are kept, newest first."""

    def watched(self) -> Watched:
        """What is explained now."""

    def wish(self, wish: Wish) -> None:
        """Explain these from now on, instead of those before."""

    @property
    def left_out(self) -> int:
        """How many were not made, as there were too many in a second."""
