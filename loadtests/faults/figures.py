"""The figures of a run, from clients' records and replicas' ledgers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.faults.ledger import Entry, posts_read_twice
from loadtests.open_loop.figures import MAX_LAG, Latency, latency
from loadtests.open_loop.records import Kind, Record


@dataclass(frozen=True, slots=True)
class Timeline:
    """The length of each phase of a run in seconds."""

    warm_up: float
    before: float
    fault: float
    after: float

    @classmethod
    def of(cls, seconds: float) -> "Timeline":
        """The usual phases: one, two, four and three tenths."""
        return cls(0.1 * seconds, 0.2 * seconds, 0.4 * seconds, 0.3 * seconds)

    @property
    def onset(self) -> float:
        return self.warm_up + self.before

    @property
    def whole(self) -> float:
        return self.onset + self.fault + self.after


@dataclass(frozen=True, slots=True)
class Window:
    """The real times of the baseline, the onset and the fault's end, by the monotonic clock.

    A request in flight at the onset belongs to the fault.
    """

    baseline: float
    onset: float
    end: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `gets` and `posts` count client-visible failures by kind.

    `last_failure` is when the last failed request was begun, in seconds after the onset; None if none failed
    after it. `ill_share` is the share of the requests of the fault that the ill replica has
    read. `lag` is the 99th percentile of how late the load sent its requests.
    """

    balancer: str
    fault: str
    requests: int
    gets: Counter[str]
    posts: Counter[str]
    last_failure: float | None
    before: Latency
    during: Latency
    ill_share: float | None
    posts_read_twice: int
    lag: float

    @property
    def is_valid(self) -> bool:
        """Whether the load generator kept its rate."""
        return self.lag <= MAX_LAG


def measure(
    name: tuple[str, str],
    records: Sequence[Record],
    ledgers: Sequence[Sequence[Entry]],
    window: Window,
    ill: int | None,
) -> Run:
    """The figures of one run. `name` is the balancer's and the fault's.

    `ill` is the index of the ill replica's ledger. All failures count, in every phase.
    """
    failed = [one for one in records if one.kind is not Kind.OK]
    before = [one for one in records if window.baseline <= one.begun and one.ended < window.onset]
    during = [one for one in records if window.onset <= one.ended and one.begun < window.end]
    return Run(
        *name,
        requests=len(records),
        gets=Counter(one.failure for one in failed if one.method == "GET"),
        posts=Counter(one.failure for one in failed if one.method == "POST"),
        last_failure=max(
            (max(0.0, one.begun - window.onset) for one in failed if one.ended >= window.onset), default=None
        ),
        before=latency([one.took for one in before]),
        during=latency([one.took for one in during]),
        ill_share=None if ill is None else _share(during, ledgers[ill]),
        posts_read_twice=len(posts_read_twice(ledgers)),
        lag=latency([one.lag for one in records]).p99,
    )


def _share(records: Sequence[Record], ledger: Sequence[Entry]) -> float:
    read = {entry.number for entry in ledger}
    return sum(one.number in read for one in records) / len(records) if records else 0.0


def together(runs: Sequence[Run]) -> Run:
    """Combine runs: sums of counts, medians of percentiles and shares, the worst of the rest."""
    shares = [one.ill_share for one in runs if one.ill_share is not None]
    return Run(
        runs[0].balancer,
        runs[0].fault,
        requests=sum(one.requests for one in runs),
        gets=sum((one.gets for one in runs), Counter()),
        posts=sum((one.posts for one in runs), Counter()),
        last_failure=max((one.last_failure for one in runs if one.last_failure is not None), default=None),
        before=_middle([one.before for one in runs]),
        during=_middle([one.during for one in runs]),
        ill_share=median(shares) if shares else None,
        posts_read_twice=sum(one.posts_read_twice for one in runs),
        lag=max(one.lag for one in runs),
    )


def _middle(latencies: Sequence[Latency]) -> Latency:
    return Latency(
        median(one.p50 for one in latencies),
        median(one.p99 for one in latencies),
        max(one.max for one in latencies),
    )
