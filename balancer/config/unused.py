"""Settings that are accepted but change nothing (L1): one table, reported by `balancer check` and at start.

Only values other than the default are reported: an unused default is no mistake, nor is a value that an
exported file repeats. Settings that can never be intended are errors, defined with the models; these may be
intended for later, for example while a group is switched off.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from balancer.config.catalogue import BY_PATH, GROUPS, POOLS, Path, key
from balancer.config.durations import format_duration
from balancer.config.pool import NamedPool, PoolSettings
from balancer.config.problems import about_value, as_written
from balancer.config.settings import Settings
from balancer.config.sources import Origin

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


_RULES: tuple[_Rule, ...] = (
    *(_off(group[0]) for group in GROUPS if (*group, "enabled") in BY_PATH),
    _Rule(
        ("access_log.fields",),
        _when(
            lambda s: s.access_log.enabled and s.access_log.sample == 0,
            "while ACCESS_LOG__SAMPLE is 0: nothing is logged; raise it, or remove this",
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
    *(
        _Rule((path,), _sooner(path, "timeouts.total"))
        for path in ("timeouts.connect", "timeouts.first_byte", "limits.queue_timeout")
    ),
)


def unused(settings: Settings, origins: Mapping[Path, Origin], tree: Mapping[str, Any]) -> list[str]:
    """One sentence for each setting that was set and changes nothing. `tree` holds the values as written."""
    # A value at the top is also the default of every pool: it has an effect unless it has none in any.
    found = [] if settings.pools and not settings.upstreams else list(_sentences(settings, (), origins, tree))
    for name, pool in settings.pools.items():
        found += _sentences(_as_of(pool, settings), (POOLS, name), origins, tree)
    return found


def _as_of(pool: NamedPool, settings: Settings) -> Settings:
    """The settings as this pool has them."""
    own = {name: getattr(pool, name) for name in PoolSettings.model_fields}
    timeouts = settings.timeouts.model_copy(update=dict(pool.timeouts))
    limits = settings.limits.model_copy(update=dict(pool.limits))
    return settings.model_copy(update={**own, "timeouts": timeouts, "limits": limits})


def _sentences(
    settings: Settings, above: Path, origins: Mapping[Path, Origin], tree: Mapping[str, Any]
) -> Iterator[str]:
    told = set()
    for rule in _RULES:
        for text in rule.paths:
            own = tuple(text.split("."))
            path = (*above, *own)
            if path in told or path not in origins or _at(settings, text) == BY_PATH[own].field.default:
                continue
            why = rule.why(settings)
            if why is not None:
                told.add(path)
                yield about_value(path, as_written(path, tree), f"has no effect {why}", origins)
