"""The balancer's own cookies, and the app's that it adds to (L1): what nothing else may go by.

Affinity takes its part out of the Cookie lines of a request once a pool is chosen, and a connection's next
request may be the same head. So what goes by such a cookie would see it once, and then no more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from balancer.config.catalogue import POOLS, Path
from balancer.config.pool import PoolSettings
from balancer.config.problems import about_route, about_value
from balancer.config.route_conditions import ANY_VALUE
from balancer.config.settings import Settings
from balancer.config.sources import Origin
from balancer.config.split import OWN_COOKIE


def sticky_cookie(pool: str, settings: PoolSettings, top: PoolSettings) -> str:
    """The name of the cookie of a pool with sticky sessions. Pools must not overwrite each other's, so one
    that does not name its own has that of the top with its name behind it."""
    cookie = settings.sticky.cookie
    return f"{cookie}_{pool}" if settings is not top and cookie == top.sticky.cookie else cookie


@dataclass
class _Cookies:
    """Names, each with what it is for: those of the balancer, and those of apps that get a token."""

    own: dict[str, str] = field(default_factory=dict)
    of_apps: dict[str, str] = field(default_factory=dict)

    def why(self, name: str) -> str | None:
        if name in self.own:
            return f"the balancer's own cookie ({self.own[name]})"
        if name in self.of_apps:
            return f"an app's cookie that gets a token ({self.of_apps[name]})"
        return None


def _pools(settings: Settings) -> Iterator[tuple[Path, str, PoolSettings]]:
    if settings.has_default:
        yield (), "", settings
    for name, pool in settings.pools.items():
        yield (POOLS, name), name, pool


def _cookies(settings: Settings) -> _Cookies:
    found = _Cookies()
    for above, name, pool in _pools(settings):
        if not pool.sticky.enabled:
            continue
        if pool.sticky.app_cookie:
            found.of_apps[pool.sticky.app_cookie] = _setting(above, "STICKY__APP_COOKIE")
        else:
            found.own[sticky_cookie(name, pool, settings)] = _setting(above, "STICKY__COOKIE")
    return found


def _setting(above: Path, name: str) -> str:
    return "__".join((*above, name)).upper()


def refused_cookies(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """A sentence for each setting that goes by such a cookie, or gives one of them the name of another."""
    cookies = _cookies(settings)
    for above, _, pool in _pools(settings):
        kind, _, key = pool.hash_key.partition(":")
        own = pool.sticky.app_cookie if pool.sticky.enabled else ""  # its token is gone when the key is read
        if kind == "cookie" and key != own and (why := cookies.why(key)) is not None:
            yield about_value((*above, "hash_key"), pool.hash_key, f"is {why}; name another cookie", origins)
        if own in cookies.own:
            text = f"is {cookies.why(own)} too; give one of them another name"
            yield about_value((*above, "sticky", "app_cookie"), own, text, origins)
    split = settings.split
    if any(route.split for route in settings.routes):
        if split.key == OWN_COOKIE:
            if (why := cookies.why(split.cookie)) is not None:
                text = f"is {why} too; give one of them another name"
                yield about_value(("split", "cookie"), split.cookie, text, origins)
            cookies.own.setdefault(split.cookie, "SPLIT__COOKIE")
        elif split.key.startswith("cookie:") and (why := cookies.why(split.key[7:])) is not None:
            text = f"is {why}, so users would change sides; name another cookie"
            yield about_value(("split", "key"), split.key, text, origins)
    for number, route in enumerate(settings.routes, 1):
        for name, value in route.match.cookies.items():
            # An app's cookie is there whatever is put before its value.
            if name in cookies.own or (value != ANY_VALUE and name in cookies.of_apps):
                text = f"match.cookies: has {name}, {cookies.why(name)}; name another cookie"
                yield about_route(number, route.name, text, origins)
