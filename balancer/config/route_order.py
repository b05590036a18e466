"""Whether routes lead to pools, and can match at all (L1)."""

from collections.abc import Iterable, Mapping

from balancer.config.route_match import MatchSettings
from balancer.config.route_text import RouteError
from balancer.config.routes import RouteSettings


def refuse_misfits(routes: tuple[RouteSettings, ...], pools: Iterable[str]) -> None:
    """Raise RouteError for a route to a pool that does not exist, and for one that can never match."""
    known = list(pools)
    seen: dict[tuple[str, str], RouteSettings] = {}  # routes without conditions, by host and prefix
    for number, route in enumerate(routes, 1):
        place = f"route {number} ({route.name})"
        for pool in route.pools:
            if pool not in known:
                there = f"the pools are {', '.join(known)}" if known else "there is no pool"
                raise RouteError(f"{place} names the pool {pool}, which does not exist; {there}")
        above = _all_taken_by(route.match, seen)
        if above is not None:
            raise RouteError(
                f"{place} never matches: {above.name}, above it, takes all of its requests; put it first"
            )
        if not route.match.has_conditions and not route.match.path:
            for host in route.match.host or ("",):
                for prefix in route.match.path_prefix or ("/",):
                    seen.setdefault((host, prefix.rstrip("/")), route)


def _all_taken_by(
    match: MatchSettings, seen: Mapping[tuple[str, str], RouteSettings]
) -> RouteSettings | None:
    """A route that takes every request that this one could match."""
    found = None
    for host in match.host or ("",):
        for path in match.path_prefix or (match.path or "/",):
            found = next(
                (
                    seen[each, prefix]
                    for each in _hosts_above(host)
                    for prefix in _prefixes_of(path)
                    if (each, prefix) in seen
                ),
                None,
            )
            if found is None:
                return None
    return found


def _hosts_above(host: str) -> list[str]:
    """The host patterns that include all of this one."""
    patterns = [host, ""] if host else [""]
    labels = host.removeprefix("*.").split(".")
    first = 0 if host.startswith("*.") else 1
    return [*patterns, *(f"*.{'.'.join(labels[at:])}" for at in range(first, len(labels)))]


def _prefixes_of(path: str) -> list[str]:
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[: at + 1]) for at in range(len(parts))]
