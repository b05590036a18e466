"""Header fields that only trusted proxies may send (L1), named where they can never arrive."""

from collections.abc import Iterator, Mapping

from balancer.config.catalogue import POOLS, Path
from balancer.config.problems import about_route, about_value
from balancer.config.settings import Settings
from balancer.config.sources import Origin


def refused_fields(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """A sentence for each condition and key that goes by such a field."""
    keys: list[tuple[Path, str]] = [((), settings.hash_key)] if settings.has_default else []
    keys += [((POOLS, name), pool.hash_key) for name, pool in settings.pools.items()]
    named = [((*above, "hash_key"), key) for above, key in keys]
    for path, key in [*named, (("split", "key"), settings.split.key)]:
        kind, _, name = key.partition(":")
        if kind == "header" and (why := _why(settings, name)) is not None:
            yield about_value(path, key, f"names {name}, {why}", origins)
    for number, route in enumerate(settings.routes, 1):
        for name in route.match.headers:
            if (why := _why(settings, name)) is not None:
                yield about_route(number, route.name, f"match.headers: has {name}, {why}", origins)


def _why(settings: Settings, name: str) -> str | None:
    return settings.forwarded.about(name, bool(settings.trusted_proxies))
