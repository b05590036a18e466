"""From rounds to figures: medians per proxy, the ratio to nginx, and the validity of figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

BASELINE = "nginx"
DISTURBED = 0.10  # if others use more than this share of the proxy's core, CPU figures are coarse
SATURATED = 0.95  # below this share of its core, requests/s is a figure of the load rather than of the proxy


@dataclass(frozen=True, slots=True)
class Round:
    """One proxy loaded once, for `seconds`; `cpu` is the CPU seconds of its whole process tree, `others`
    those of its core used by anything else: other processes, other machines on the same host.
    """

    proxy: str
    requests: int
    seconds: float
    cpu: float
    others: float
    p50: float
    p99: float

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds per request."""
        return self.cpu / self.requests

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def core_share(self) -> float:
        """The share of its core used by the proxy; 1.0 is all of it."""
        return self.cpu / self.seconds

    @property
    def others_share(self) -> float:
        """The share of the proxy's core used by others."""
        return self.others / self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of one proxy's rounds. `ratio` compares CPU per request with nginx in the same run;
    `ratio_range` is the lowest and highest of the rounds. Both are None without nginx.
    """

    proxy: str
    rounds: int
    cpu_per_request: float
    requests_per_second: float
    core_share: float
    others_share: float
    p50: float
    p99: float
    ratio: float | None
    ratio_range: tuple[float, float] | None

    @property
    def is_saturated(self) -> bool:
        """Whether requests/s is a figure of the proxy. CPU per request is always valid."""
        return self.core_share >= SATURATED

    @property
    def is_disturbed(self) -> bool:
        """Whether others used so much of the core that, through caches, CPU per request suffers too."""
        return self.others_share > DISTURBED


def summarise(rounds: Sequence[Round]) -> list[Summary]:
    """One summary per proxy, in the order in which they first ran."""
    by_proxy: dict[str, list[Round]] = {}
    for one in rounds:
        by_proxy.setdefault(one.proxy, []).append(one)
    baseline = by_proxy.get(BASELINE)
    return [_summary(proxy, own, baseline) for proxy, own in by_proxy.items()]


def _summary(proxy: str, own: Sequence[Round], baseline: Sequence[Round] | None) -> Summary:
    cpu_per_request = median(one.cpu_per_request for one in own)
    ratio: float | None = None
    ratio_range: tuple[float, float] | None = None
    if baseline is not None:
        ratio = cpu_per_request / median(one.cpu_per_request for one in baseline)
        # Neighbouring rounds are compared, so that a disturbance of the machine affects both.
        pairs = [a.cpu_per_request / b.cpu_per_request for a, b in zip(own, baseline, strict=False)]
        ratio_range = min(pairs), max(pairs)
    return Summary(
        proxy=proxy,
        rounds=len(own),
        cpu_per_request=cpu_per_request,
        requests_per_second=median(one.requests_per_second for one in own),
        core_share=median(one.core_share for one in own),
        others_share=median(one.others_share for one in own),
        p50=median(one.p50 for one in own),
        p99=median(one.p99 for one in own),
        ratio=ratio,
        ratio_range=ratio_range,
    )
