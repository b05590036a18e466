"""What is wrong with the routes as they stand together (L1): names, pools, order, redirects in circles."""

from collections.abc import Iterator, Mapping
from typing import Any

from balancer.config.catalogue import POOLS, Path
from balancer.config.problems import ROUTES, about_routes
from balancer.config.route_circles import circles
from balancer.config.route_order import misfits
from balancer.config.route_problems import items_of
from balancer.config.route_rules import Rule
from balancer.config.routes import readable
from balancer.config.settings import Settings
from balancer.config.sources import Origin
from balancer.config.upstream_spec import DEFAULT


def refused_routes(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """A sentence for each misfit."""
    rules = _rules(settings)
    pools = [*([DEFAULT] if settings.has_default else []), *settings.pools]
    for text in misfits(rules, pools):
        yield about_routes(text, origins)
    for circle in circles(rules):
        if not circle.by_tls:
            yield about_routes(str(circle), origins)


def circles_by_tls(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """A sentence for each redirect that comes back if a proxy in front ends TLS for its host. Only trusted
    proxies show that there is one."""
    if settings.trusted_proxies:
        for circle in circles(_rules(settings)):
            if circle.by_tls:
                yield about_routes(str(circle), origins)


def broken_routes(
    tree: Mapping[str, Any], origins: Mapping[Path, Origin], *, knows_pools: bool
) -> Iterator[str]:
    """As `refused_routes`, of raw values of which some are wrong: only those routes are compared that are
    not. Where a redirect leads is not known then."""
    rules = [Rule(number, route) for number, route in readable(items_of(tree.get(ROUTES)))]
    pools = [*([DEFAULT] if tree.get("upstreams") else []), *(tree.get(POOLS) or ())]
    for text in misfits(rules, pools if knows_pools else []):
        yield about_routes(text, origins)


def _rules(settings: Settings) -> list[Rule]:
    return [Rule(number, route) for number, route in enumerate(settings.routes, 1)]
