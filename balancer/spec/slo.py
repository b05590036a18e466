"""What is promised for the requests of a route (L1)."""

from balancer.spec.part import Part


class SloSpec(Part, frozen=True, kw_only=True):
    """A promise for the requests of `route` that `pool` serves. The response to `percentile` of them (0.95)
    begins within `latency` seconds, which is a bound of the histograms, and no more than `errors` of them
    (0.01) fail; both over `window` seconds."""

    route: str
    pool: str
    latency: float
    percentile: float
    errors: float
    window: float
