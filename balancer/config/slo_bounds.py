"""The bounds of histograms that settings ask for (L1): those that were chosen, and the latency of each SLO,
so that exactly the requests that were slower can be counted."""

from collections.abc import Iterator, Mapping

from balancer.config.catalogue import Path
from balancer.config.durations import format_duration
from balancer.config.problems import place
from balancer.config.settings import Settings
from balancer.config.sources import Origin
from balancer.edges import DEFAULT, MOST_OWN, with_own

BUCKETS: Path = ("metrics", "buckets")


def bounds(settings: Settings) -> list[float]:
    """All of them, in seconds."""
    pools = [*([settings] if settings.has_default else []), *settings.pools.values()]
    latencies = [pool.slo.latency for pool in pools]
    latencies += [route.slo.latency or 0.0 for route in settings.routes]
    return [*settings.metrics.buckets, *(latency for latency in latencies if latency)]


def too_many_bounds(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """A sentence if there are more than can be counted."""
    own = with_own(DEFAULT, bounds(settings))[len(DEFAULT) :]
    if len(own) > MOST_OWN:
        shown = ", ".join(map(format_duration, own))
        yield (
            f"{place(BUCKETS, origins)}: the buckets and the latencies of SLOs have {len(own)} bounds "
            f"besides the default ones ({shown}); at most {MOST_OWN} can be counted: choose fewer, or some "
            f"of the default ones, which are {', '.join(map(format_duration, DEFAULT))}"
        )
