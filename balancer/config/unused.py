"""Settings that are accepted but change nothing (L1): one table, reported by `balancer check` and at start.

Only values other than the default are reported: an unused default is no mistake, nor is a value that an
exported file repeats. Settings that can never be intended are errors, defined with the models; these may be
intended for later, for example while a group is switched off.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from balancer.config.acme import AcmeSettings
from balancer.config.catalogue import BY_PATH, GROUPS, POOL_SETTINGS, POOLS, Path, key
from balancer.config.durations import format_duration
from balancer.config.pool import NamedPool, PoolSettings
from balancer.config.problems import about_route, about_value, as_written
from balancer.config.settings import Settings
from balancer.config.slo import SloSettings
from balancer.config.sources import Origin
from balancer.config.split import OWN_COOKIE
from balancer.config.tls import TlsSettings
from balancer.config.upstream_spec import DEFAULT
from balancer.config.upstream_tls import UpstreamTlsSettings

_Why: TypeAlias = Callable[[Settings], str | None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """These settings change nothing if `why` returns text: a reason with a remedy."""

    paths: tuple[str, ...]
    why: _Why


def _when(condition: Callable[[Settings], bool], text: str) -> _Why:
    return lambda settings: text if condition(settings) else None


def _sooner(path: str, limit: str) -> _Why:
    """The timeout at `path` is never reached if the one at `limit` ends the same exchange no later."""

    def why(settings: Settings) -> str | None:
        value, most = (_at(settings, each) for each in (path, limit))
        if not 0 < most <= value:
            return None
        name = _name(limit)
        return f"because {name} ({format_duration(most)}) is not longer; raise {name}, or lower this"

    return why


def _name(path: str) -> str:
    return "__".join(path.split(".")).upper()


def _at(settings: Settings, path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _off(group: str) -> _Rule:
    others = tuple(key(path) for path in BY_PATH if path[:-1] == (group,) and path[-1] != "enabled")
    name = f"{group.upper()}__ENABLED"
    return _Rule(
        others,
        _when(
            lambda s: not _at(s, f"{group}.enabled"), f"while {name} is false; set it to true, or remove this"
        ),
    )


def _promises_nothing(settings: Settings) -> bool:
    """Neither here, nor in a pool or a route that takes the rest from here."""
    pools = (settings, *settings.pools.values())
    return not any(pool.slo.latency for pool in pools) and not any(
        route.slo.latency for route in settings.routes
    )


_RULES: tuple[_Rule, ...] = (
    *(_off(group[0]) for group in GROUPS if (*group, "enabled") in BY_PATH),
    _Rule(
        tuple(
            f"tls.{name}"
            for name in TlsSettings.model_fields
            if name not in ("certificate", "certificates", "acme")
        ),
        _when(
            lambda s: not s.tls.is_on,
            "while there is no certificate; set TLS__CERTIFICATES to certificate:key, or remove this",
        ),
    ),
    _Rule(
        tuple(f"tls.acme.{name}" for name in AcmeSettings.model_fields if name != "domains"),
        _when(
            lambda s: not s.tls.acme.is_on,
            "while there is no domain; set TLS__ACME__DOMAINS to names, or remove this",
        ),
    ),
    _Rule(
        ("tls.client_certificates",),
        _when(lambda s: not s.tls.client_ca, "while TLS__CLIENT_CA is not set; set it, or remove this"),
    ),
    _Rule(
        tuple(f"upstream_tls.{name}" for name in UpstreamTlsSettings.model_fields),
        _when(
            lambda s: not any(each.tls for each in s.upstreams),
            "while no upstream is written as https://; write https://app1:8443, or remove this",
        ),
    ),
    _Rule(
        ("upstream_tls.ca",),
        _when(
            lambda s: not s.upstream_tls.verify,
            "while UPSTREAM_TLS__VERIFY is false; set it to true, or remove this",
        ),
    ),
    _Rule(
        ("access_log.fields",),
        _when(
            lambda s: s.access_log.enabled and s.access_log.format == "combined",
            "while ACCESS_LOG__FORMAT is combined, which has its own fields; choose another one, or "
            "remove this",
        ),
    ),
    _Rule(
        ("retry.statuses", "retry.budget_ratio", "retry.budget_min_per_second", "retry.replay_bytes"),
        _when(
            lambda s: s.retry.max_attempts == 1,
            "while RETRY__MAX_ATTEMPTS is 1: nothing is sent again; raise it, or remove this",
        ),
    ),
    _Rule(
        ("retry.statuses",),
        _when(
            lambda s: s.retry.max_attempts > 1 and bool(s.retry.statuses) and not s.retry.methods,
            "while RETRY__METHODS is empty: no answer lets a request go again; name methods, or remove this",
        ),
    ),
    _Rule(
        ("retry.statuses",),
        _when(
            lambda s: bool(s.retry.statuses) and not (s.retry.budget_ratio or s.retry.budget_min_per_second),
            "while RETRY__BUDGET_RATIO and RETRY__BUDGET_MIN_PER_SECOND are 0; raise one, or remove this",
        ),
    ),
    _Rule(
        ("keepalive.idle_timeout", "keepalive.max_requests", "keepalive.max_lifetime", "keepalive.learn"),
        _when(
            lambda s: s.keepalive.max_idle == 0,
            "while KEEPALIVE__MAX_IDLE is 0: no connection is kept; raise it, or remove this",
        ),
    ),
    _Rule(("keepalive.idle_timeout",), _sooner("keepalive.idle_timeout", "keepalive.max_lifetime")),
    _Rule(
        ("limits.queue_timeout",),
        _when(
            lambda s: s.limits.queue_size == 0,
            "while LIMITS__QUEUE_SIZE is 0: no request waits; raise it, or remove this",
        ),
    ),
    _Rule(
        ("adaptive.max_limit",),
        _when(
            lambda s: s.adaptive.enabled and 0 < s.limits.max_inflight <= s.adaptive.max_limit,
            "because LIMITS__MAX_INFLIGHT is reached first; lower this, or remove it",
        ),
    ),
    _Rule(
        ("adaptive.min_limit",),
        _when(
            lambda s: s.adaptive.enabled and 0 < s.limits.max_inflight <= s.adaptive.min_limit,
            "because LIMITS__MAX_INFLIGHT is reached first: no adaptive limit is ever in force; lower this",
        ),
    ),
    _Rule(
        ("panic",),
        _when(
            lambda s: not s.health_check.enabled and not s.outlier.enabled,
            "while HEALTH_CHECK__ENABLED and OUTLIER__ENABLED are false: nothing is ejected; set one of them "
            "to true, or remove this",
        ),
    ),
    _Rule(
        tuple(f"slo.{name}" for name in SloSettings.model_fields if name != "latency"),
        _when(
            _promises_nothing,
            "while no SLO__LATENCY is set: nothing is promised; set it, or remove this",
        ),
    ),
    _Rule(
        ("split.key", "split.secret", "split.cookie"),
        _when(
            lambda s: not any(route.split for route in s.routes),
            "while no route is split; write a route such as /=stable:90|canary:10, or remove this",
        ),
    ),
    _Rule(
        ("split.cookie",),
        _when(
            lambda s: s.split.key != OWN_COOKIE,
            "while SPLIT__KEY is not cookie; set it to cookie, or remove this",
        ),
    ),
    *(
        _Rule((path,), _sooner(path, "timeouts.total"))
        for path in ("timeouts.connect", "timeouts.first_byte", "limits.queue_timeout")
    ),
)


def unused(settings: Settings, origins: Mapping[Path, Origin], tree: Mapping[str, Any]) -> list[str]:
    """One sentence for each setting that was set and changes nothing. `tree` holds the values as written."""
    # A value at the top is also the default of every pool: it has an effect unless it has none in any.
    only_for_pools = bool(settings.pools) and not settings.has_default
    found = [
        sentence
        for path, sentence in _sentences(settings, (), origins, tree)
        if not (only_for_pools and path in POOL_SETTINGS) or _in_no_pool(path, settings, origins)
    ]
    for name, pool in settings.pools.items():
        found += [one for _, one in _sentences(_as_of(pool, settings), (POOLS, name), origins, tree)]
    return [*found, *_of_routes(settings, origins)]


def _in_no_pool(path: Path, settings: Settings, origins: Mapping[Path, Origin]) -> bool:
    """Whether a value at the top changes nothing in any pool that takes it."""
    return all(
        (POOLS, name, *path) in origins or _why(key(path), _as_of(pool, settings)) is not None
        for name, pool in settings.pools.items()
    )


def _of_routes(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """About what routes set themselves."""
    for number, route in enumerate(settings.routes, 1):
        groups = {
            group: {name: value for name, value in getattr(route, group) if value is not None}
            for group in ("timeouts", "retry", "slo")
        }
        if not any(groups.values()):
            continue
        pools = [
            settings if pool == DEFAULT else _as_of(settings.pools[pool], settings) for pool in route.pools
        ]
        seen = [
            pool.model_copy(
                update={name: getattr(pool, name).model_copy(update=own) for name, own in groups.items()}
            )
            for pool in pools
        ]
        for path in (f"{group}.{name}" for group, own in groups.items() for name in own):
            whys = [_why(path, one) for one in seen]
            if whys[0] is not None and all(whys):
                yield about_route(number, route.name, f"{path}: has no effect {whys[0]}", origins)


def _why(path: str, settings: Settings) -> str | None:
    """Why the setting at `path` changes nothing."""
    if _at(settings, path) == BY_PATH[tuple(path.split("."))].field.default:
        return None
    return next((why for rule in _RULES if path in rule.paths and (why := rule.why(settings))), None)


def _as_of(pool: NamedPool, settings: Settings) -> Settings:
    """The settings as this pool has them."""
    own = {name: getattr(pool, name) for name in PoolSettings.model_fields}
    timeouts = settings.timeouts.model_copy(update=dict(pool.timeouts))
    limits = settings.limits.model_copy(update=dict(pool.limits))
    return settings.model_copy(update={**own, "timeouts": timeouts, "limits": limits})


def _sentences(
    settings: Settings, above: Path, origins: Mapping[Path, Origin], tree: Mapping[str, Any]
) -> Iterator[tuple[Path, str]]:
    """The path of each setting below `above` that changes nothing, and why."""
    for text in dict.fromkeys(text for rule in _RULES for text in rule.paths):
        path = (*above, *text.split("."))
        if path in origins and (why := _why(text, settings)) is not None:
            yield path, about_value(path, as_written(path, tree), f"has no effect {why}", origins)
