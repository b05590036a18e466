"""From the settings of promises to their specs (L7): a route's own values, or those of each of its pools."""

from collections.abc import Iterator

from balancer.config.pool import PoolSettings
from balancer.config.routes import RouteSettings
from balancer.config.settings import Settings
from balancer.config.upstream_spec import DEFAULT
from balancer.spec.slo import SloSpec
from balancer.spec.worker import RouteSpec


def slo_specs(settings: Settings, routes: tuple[RouteSpec, ...]) -> Iterator[SloSpec]:
    """What is promised for each side of each route, if anything is."""
    own = {route.name: route for route in settings.routes}
    for route in routes:
        for side in route.sides:
            pool = settings if side.pool == DEFAULT else settings.pools[side.pool]
            spec = _spec(route.name, side.pool, pool, own.get(route.name))
            if spec.latency:
                yield spec


def _spec(name: str, pool_name: str, pool: PoolSettings, route: RouteSettings | None) -> SloSpec:
    chosen = dict(pool.slo)
    if route is not None:
        chosen |= {key: value for key, value in route.slo if value is not None}
    return SloSpec(
        route=name,
        pool=pool_name,
        latency=chosen["latency"],
        percentile=chosen["percentile"] / 100,
        errors=chosen["errors"],
        window=chosen["window"],
    )
