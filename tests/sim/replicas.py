"""App replicas: how long their work takes, how many requests they work on at once, and their backlog."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol, TypeAlias

from tests.sim.engine import Engine

UNLIMITED = 1 << 60
# The service time of a route's request: seconds until its first byte, and from there to its last.
Service: TypeAlias = Callable[[str, Random], tuple[float, float]]


class Work(Protocol):
    """A request, as seen by a replica."""

    route: str

    @property
    def left(self) -> bool:
        """Whether the client no longer waits for the answer."""

    def answered(self, body: float) -> None:
        """The head of the answer is sent; the rest takes `body` seconds."""


class Replica:
    """Works on `at_once` requests at a time, in the order of their arrival.

    A sync server does not see that a client has left while its request waits; with `notices` it does.
    `slowness` is the factor by which work takes longer if it begins now.
    """

    def __init__(
        self, engine: Engine, service: Service, random: Random, at_once: int, *, notices: bool = False
    ) -> None:
        self._engine = engine
        self._service = service
        self._random = random
        self._notices = notices
        self._line: deque[Work] = deque()
        self._paused_until = 0.0
        self.at_once = at_once
        self.slowness = 1.0
        self.running = 0
        self.done = 0
        self.in_vain = 0  # of those done: the client had left

    @property
    def has(self) -> int:
        """Requests in work and in the backlog."""
        return self.running + len(self._line)

    def begin(self, work: Work) -> None:
        """A request arrives."""
        self._line.append(work)
        self._work()

    def change(self, *, at_once: int | None = None, slowness: float | None = None) -> None:
        """From now on it works on more or fewer requests at a time, or takes longer for each."""
        self.at_once = self.at_once if at_once is None else at_once
        self.slowness = self.slowness if slowness is None else slowness
        self._work()

    def pause(self, seconds: float) -> None:
        """Stop all work for so long, as a garbage collector does: work due during the pause ends after it."""
        self._paused_until = self._engine.passed + seconds

    def _work(self) -> None:
        backlog = self._line
        while backlog and self.running < self.at_once:
            work = backlog.popleft()
            if work.left and self._notices:
                continue
            self.running += 1
            first_byte, body = self._service(work.route, self._random)
            self._engine.after(first_byte * self.slowness, self._answer, work, body * self.slowness)

    def _answer(self, work: Work, body: float) -> None:
        rest = self._paused_until - self._engine.passed
        if rest > 1e-9:  # the engine's smallest step
            self._engine.after(rest, self._answer, work, body)
            return
        self.done += 1
        self.in_vain += work.left
        work.answered(body)
        if body:
            self._engine.after(body, self._ended)
        else:
            self._ended()

    def _ended(self) -> None:
        self.running -= 1
        self._work()


# --- how long things take


def takes(seconds: float, body: float = 0.0) -> Service:
    """A constant time."""
    return lambda route, random: (seconds, body)


def spreads(mean: float, spread: float) -> Service:
    """Gamma: `spread` is the standard deviation divided by the mean; 1 is exponential, 0.2 a steady app."""
    shape = 1.0 / spread**2
    return lambda route, random: (random.gammavariate(shape, mean / shape), 0.0)


def ranges(least: float, most: float) -> Service:
    """Uniform between the two, as for long polling."""
    return lambda route, random: (random.uniform(least, most), 0.0)


def by_route(services: dict[str, Service]) -> Service:
    """Each route has its own service time."""
    return lambda route, random: services[route](route, random)


def by_chance(*services: tuple[float, Service]) -> Service:
    """One of these, by their shares, whatever the route: the request does not show which."""

    def draw(route: str, random: Random) -> tuple[float, float]:
        at = random.random()
        for part, service in services:
            at -= part
            if at < 0:
                return service(route, random)
        return services[-1][1](route, random)

    return draw
