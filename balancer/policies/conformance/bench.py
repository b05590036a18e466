"""What drives a policy through a check: upstreams, a clock, and the pool's ways."""

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from balancer.errors import Outcome
from balancer.policies.base import Factory, Policy, PolicyContext
from balancer.upstreams.upstream import Upstream

SEED: Final = 20240607
LATENCY: Final = 0.01  # seconds


class NonConformance(AssertionError):
    """A policy does not do what every policy must."""


class BenchClock:
    """A clock that moves only by `advance`."""

    def __init__(self) -> None:
        self._now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall(self) -> float:
        return self._now_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now_ns += round(seconds * 1e9)


class Bench:
    """A policy with upstreams of given weights, driven as the pool drives it."""

    def __init__(self, factory: Factory, weights: Sequence[float], *, seed: int = SEED, slot: int = 0):
        self.clock = BenchClock()
        self.upstreams = [upstream(number, weight) for number, weight in enumerate(weights)]
        self.policy: Policy = factory(PolicyContext(Random(seed), slot, self.clock))
        self._keys = Random(seed + 1)
        self.rebuild()

    def rebuild(self, without: Sequence[Upstream] = ()) -> list[Upstream]:
        """Make all upstreams candidates, but those in `without`; gives the candidates."""
        candidates = [one for one in self.upstreams if one not in without]
        self.policy.rebuild(candidates)
        return candidates

    def key(self) -> int:
        """A new key, where the policy wants one."""
        return self._keys.getrandbits(64) if self.policy.needs_key else 0

    def choose(self, tried: tuple[Upstream, ...] = ()) -> Upstream | None:
        """One attempt begins, with a key of its own."""
        return self.start(self.key(), tried)

    def start(self, key: int, tried: tuple[Upstream, ...] = ()) -> Upstream | None:
        """One attempt begins, with this key."""
        chosen = self.policy.pick(key, tried)
        if chosen is not None:
            if self.policy.tracks_load:
                self.policy.started(chosen)
            chosen.inflight += 1
        return chosen

    def finish(self, chosen: Upstream, latency: float = LATENCY, outcome: Outcome = Outcome.SUCCESS) -> None:
        """The attempt at `chosen` ends."""
        chosen.inflight -= 1
        if self.policy.tracks_load:
            self.policy.finished(chosen, latency, outcome)

    def held(self, picks: int) -> "Counter[Upstream]":
        """How often each is chosen in `picks` attempts, none of which ends before the last has begun."""
        chosen = [self.choose() for _ in range(picks)]
        for one in chosen:
            if one is not None:
                self.finish(one)
        return Counter(one for one in chosen if one is not None)

    def sequential(self, picks: int) -> "Counter[Upstream]":
        """The same, but each attempt ends before the next one begins."""
        counts: Counter[Upstream] = Counter()
        for _ in range(picks):
            chosen = self.choose()
            if chosen is not None:
                counts[chosen] += 1
                self.clock.advance(LATENCY)
                self.finish(chosen)
        return counts

    @property
    def tolerance(self) -> float:
        """How far a share may be off, relatively: a hash spreads less evenly than a turn."""
        return 0.3 if self.policy.needs_key else 0.12


def upstream(number: int, weight: float = 1.0, inflight: int = 0) -> Upstream:
    """An upstream as policies see them; its row in the stats segment is a dummy."""
    made = Upstream(
        f"app{number}:8000", f"10.0.{number >> 8}.{number & 255}", 8000, max(1, int(weight)), _CELLS
    )
    made.effective_weight = float(weight)
    made.inflight = inflight
    return made


_CELLS: Final = memoryview(bytearray(8)).cast("q")


def require(holds: bool, what: str) -> None:
    """Raises NonConformance with `what` was seen unless it `holds`."""
    if not holds:
        raise NonConformance(what)


def require_shares(bench: Bench, counts: "Counter[Upstream]", candidates: Iterable[Upstream]) -> None:
    """Each candidate has its share of `counts` by weight, near enough."""
    candidates = list(candidates)
    picks = counts.total()
    weights = sum(one.effective_weight for one in candidates)
    for one in candidates:
        got, weight = counts[one], one.effective_weight
        fair = picks * weight / weights
        require(
            abs(got - fair) <= fair * bench.tolerance,
            f"of {len(candidates)}, one of weight {weight} got {got} instead of {fair:.0f}",
        )
