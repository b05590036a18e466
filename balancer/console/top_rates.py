"""What `balancer top` shows (L7): rates of each upstream and pool, from two looks at each instance. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

from balancer.console.sides import added, coarse, common_bounds
from balancer.console.status import BADNESS, state_of

MIXED = "mixed"  # the state of an upstream that is not in the same one everywhere
_QUANTILE = 0.99

Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One instance, asked twice: `seconds` have passed from `before` to `now`; `before` is None at first."""

    place: str
    now: Answer
    before: Answer | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Figures:
    """Sums over instances, or over the upstreams of a pool; per second unless said otherwise. `known`: there
    were two looks, so that there are rates."""

    known: bool = False
    requests: float = 0.0
    errors: float = 0.0  # 5xx, and connections that could not be opened
    codes: dict[str, float] = field(default_factory=dict)  # responses by status
    buckets: list[int] = field(default_factory=list)  # first bytes in this time, by bound
    inflight: int = 0  # now
    limit: int = 0  # of inflight, 0 for none

    def add(self, other: "Figures") -> None:
        """Count these too."""
        self.known |= other.known
        self.requests += other.requests
        self.errors += other.errors
        for code, rate in other.codes.items():
            self.codes[code] = self.codes.get(code, 0.0) + rate
        self.buckets = added(self.buckets, other.buckets)
        self.inflight += other.inflight
        self.limit += other.limit


@dataclass(slots=True, eq=False)
class UpstreamRow:
    """One upstream, over all instances that have it."""

    pool: str
    id: str
    views: dict[str, Answer] = field(default_factory=dict)  # place -> as the API shows it
    each: dict[str, Figures] = field(default_factory=dict)  # by place
    total: Figures = field(default_factory=Figures)

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.pool, self.id

    def state(self) -> str:
        """One word for its state."""
        states = {state_of(view) for view in self.views.values()}
        return states.pop() if len(states) == 1 else MIXED

    def worst(self) -> str:
        """Its worst state at any instance."""
        return max((state_of(view) for view in self.views.values()), key=BADNESS.index)


@dataclass(slots=True, eq=False)
class PoolRow:
    """One pool, over all instances."""

    name: str
    upstreams: dict[str, UpstreamRow] = field(default_factory=dict)
    total: Figures = field(default_factory=Figures)
    queue: int = 0  # requests that wait
    refused: float = 0.0  # per second, for lack of a slot
    overloaded: bool = False  # at any instance

    def eligible(self) -> int:
        """Upstreams that are eligible at every instance that has them."""
        return sum(all(view["eligible"] for view in row.views.values()) for row in self.upstreams.values())


Row: TypeAlias = PoolRow | UpstreamRow


def rows(looks: Iterable[Look]) -> list[PoolRow]:
    """All pools with their upstreams, in the order of the settings."""
    pools: dict[str, PoolRow] = {}
    looks = list(looks)
    common = bounds(looks)
    for look in looks:
        before = {pool["name"]: pool for pool in look.before["pools"]} if look.before is not None else {}
        for pool in look.now["pools"]:
            row = pools.setdefault(pool["name"], PoolRow(pool["name"]))
            _take_pool(row, look, pool, before.get(pool["name"]), common)
    return list(pools.values())


def bounds(looks: Iterable[Look]) -> list[float]:
    """Those of the buckets in rows of these."""
    answers = [answer for look in looks for answer in (look.now, look.before) if answer is not None]
    return common_bounds(answer["first_byte_bounds"] for answer in answers) if answers else []


def _take_pool(
    row: PoolRow, look: Look, pool: Answer, before: Answer | None, common: Sequence[float]
) -> None:
    row.queue += pool["queue_length"]
    row.overloaded |= pool["overload"] is not None
    then: dict[str, Answer] = {}
    if before is not None and look.seconds:
        refused = sum(pool["queue_rejected"].values()) - sum(before["queue_rejected"].values())
        row.refused += max(0, refused) / look.seconds
        then = {upstream["id"]: upstream for upstream in before["upstreams"]}
    for upstream in pool["upstreams"]:
        one = row.upstreams.setdefault(upstream["id"], UpstreamRow(pool["name"], upstream["id"]))
        figures = _figures(upstream, then.get(upstream["id"]), look, common)
        one.views[look.place] = upstream
        one.each[look.place] = figures
        one.total.add(figures)
        row.total.add(figures)


def _figures(now: Answer, before: Answer | None, look: Look, common: Sequence[float]) -> Figures:
    found = Figures(inflight=now["inflight"], limit=now["inflight_limit"])
    seconds = look.seconds
    if look.before is None or before is None or not seconds:
        return found
    if now["requests"] < before["requests"]:  # another instance, or another upstream of that name
        none = [0] * len(before["first_byte_buckets"])
        before = {"codes": {}, "connect_failures": {}, "first_byte_buckets": none}
    codes = _since(now["codes"], before["codes"])
    failures = _since(now["connect_failures"], before["connect_failures"])
    errors = sum(count for code, count in codes.items() if code.startswith("5")) + failures.total()
    found.known = True
    found.codes = {code: count / seconds for code, count in codes.items()}
    found.requests = codes.total() / seconds
    found.errors = errors / seconds
    late = coarse(now["first_byte_buckets"], look.now["first_byte_bounds"], common)
    early = coarse(before["first_byte_buckets"], look.before["first_byte_bounds"], common)
    found.buckets = [max(0, after - earlier) for after, earlier in zip(late, early, strict=True)]
    return found


def _since(now: Mapping[str, int], before: Mapping[str, int]) -> Counter[str]:
    return Counter({name: more for name, count in now.items() if (more := count - before.get(name, 0)) > 0})


def _latency(figures: Figures) -> float:
    """Where the bucket of the 99th percentile stands among all."""
    total, seen = sum(figures.buckets), 0
    for at, count in enumerate(figures.buckets):
        seen += count
        if total and seen >= _QUANTILE * total:
            return at + 1.0
    return 0.0


Figure: TypeAlias = Callable[[Figures], float]

# What rows can be sorted by, with the key for it; None is the order of the settings.
ORDERS: Mapping[str, tuple[str, Figure | None]] = {
    "name": ("n", None),
    "rps": ("r", attrgetter("requests")),
    "errors": ("e", attrgetter("errors")),
    "latency": ("l", _latency),
    "inflight": ("i", attrgetter("inflight")),
}


def ordered(pools: Sequence[PoolRow], order: str) -> list[Row]:
    """The pools, each followed by its upstreams, with the largest of that figure first."""
    figure = ORDERS[order][1]

    def largest(row: Row) -> float:
        # To two digits: rows that differ by less keep their places from one look to the next.
        return 0.0 if figure is None else -float(f"{figure(row.total):.1e}")

    found: list[Row] = []
    for pool in sorted(pools, key=largest):
        found += [pool, *sorted(pool.upstreams.values(), key=largest)]
    return found
