"""From the settings of routes to their specs (L7)."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from balancer.config.pool import NamedPool
from balancer.config.route_edits import FieldsSettings
from balancer.config.routes import UNMATCHED, OwnLimits, OwnRetry, OwnTimeouts, RouteSettings
from balancer.config.settings import Settings
from balancer.config.upstream_spec import DEFAULT
from balancer.errors import SettingsError
from balancer.spec.part import replaced
from balancer.spec.worker import (
    FOREVER_NS,
    AnswerSpec,
    FieldsSpec,
    MatchSpec,
    PoolSpec,
    RetryRules,
    RewriteSpec,
    RouteSpec,
    RouteTimeouts,
    SideSpec,
    SplitSpec,
)

_Holder: TypeAlias = Settings | NamedPool


def route_specs(settings: Settings, pools: Mapping[str, PoolSpec]) -> tuple[RouteSpec, ...]:
    """The routes in the order in which they are tried, the last one for all requests. Raises SettingsError
    for a file that cannot be read."""
    if not settings.routes:
        (name,) = pools
        return (_spec(settings, RouteSettings(name=name, pool=name), pools),)
    specs = [_spec(settings, route, pools) for route in settings.routes]
    if specs[-1].match not in (MatchSpec(), MatchSpec(path_prefixes=("/",))):
        specs.append(_unmatched(settings))
    return tuple(specs)


def _spec(settings: Settings, route: RouteSettings, pools: Mapping[str, PoolSpec]) -> RouteSpec:
    holders = _holders(settings, route)
    return RouteSpec(
        name=route.name,
        match=_match(route),
        sides=tuple(_side(route, pools[pool]) for pool in route.pools),
        split=_split(settings, route),
        answer=_answer(route),
        rewrite=_rewrite(route),
        response=_fields(route.response_headers),
        timeouts=_timeouts(route.timeouts, holders),
        body_bytes=_body_bytes(route.limits, holders),
    )


def _unmatched(settings: Settings) -> RouteSpec:
    """The route of requests that no other matches."""
    return RouteSpec(
        name=UNMATCHED,
        match=MatchSpec(),
        sides=(),
        split=None,
        answer=None,
        rewrite=None,
        response=None,
        timeouts=_timeouts(OwnTimeouts(), [settings]),
        body_bytes=settings.limits.body_bytes,
    )


def _match(route: RouteSettings) -> MatchSpec:
    match = route.match
    return MatchSpec(
        hosts=match.host,
        path=match.path,
        path_prefixes=match.path_prefix,
        methods=match.methods,
        headers=tuple(match.headers.items()),
        query=tuple(match.query.items()),
        cookies=tuple(match.cookies.items()),
        without_tls=route.without_tls,
    )


def _side(route: RouteSettings, pool: PoolSpec) -> SideSpec:
    return SideSpec(pool=pool.name, retry=_own_rules(pool.retry, route.retry))


def _split(settings: Settings, route: RouteSettings) -> SplitSpec | None:
    if route.split is None:
        return None
    return SplitSpec(
        weights=tuple(route.split.sides.values()),
        key=settings.split.key,
        secret=settings.split.secret.get_secret_value().encode(),
        cookie=settings.split.cookie.encode(),
        fallback=route.split.fallback,
        keep=route.split.keep,
    )


def _own_rules(rules: RetryRules, own: OwnRetry) -> RetryRules:
    changes: dict[str, object] = {}
    if own.max_attempts is not None:
        changes["max_attempts"] = own.max_attempts
    if own.statuses is not None:
        changes["statuses"] = frozenset(own.statuses)
    if own.methods is not None:
        changes["methods"] = frozenset(method.encode() for method in own.methods)
    if own.replay_bytes is not None:
        changes["replay_bytes"] = own.replay_bytes
    return replaced(rules, **changes)


def _answer(route: RouteSettings) -> AnswerSpec | None:
    if route.redirect is not None:
        return AnswerSpec(status=route.redirect.chosen_status, location=route.redirect.location)
    respond = route.respond
    if respond is None:
        return None
    try:
        body = respond.body()
    except ValueError as error:
        raise SettingsError([f"BALANCER_ROUTES: route {route.name}: respond.file {error}"]) from None
    headers = tuple(respond.headers.items())
    if body:
        headers = (("Content-Type", respond.chosen_type), *headers)
    return AnswerSpec(status=respond.status, headers=headers, body=body)


def _rewrite(route: RouteSettings) -> RewriteSpec | None:
    spec = RewriteSpec(
        prefixes=route.prefixes,
        instead=route.replace_prefix,
        host=route.host,
        fields=_fields(route.request_headers),
    )
    return None if spec == RewriteSpec() else spec


def _fields(fields: FieldsSettings) -> FieldsSpec | None:
    spec = FieldsSpec(set=tuple(fields.set.items()), add=tuple(fields.add.items()), remove=fields.remove)
    return None if spec == FieldsSpec() else spec


def _body_bytes(limits: OwnLimits, holders: Sequence[_Holder]) -> int:
    if limits.body_bytes is not None:
        return limits.body_bytes
    return max((one.limits.body_bytes for one in holders), key=lambda most: most or math.inf)


def _timeouts(timeouts: OwnTimeouts, holders: Sequence[_Holder]) -> RouteTimeouts:
    def seconds(name: str) -> list[float]:
        own: float | None = getattr(timeouts, name)
        return [getattr(one.timeouts, name) for one in holders] if own is None else [own]

    def longest(name: str) -> int:
        return max(map(timeout_ns, seconds(name)))

    return RouteTimeouts(
        first_byte_ns=longest("first_byte"),
        idle_ns=longest("idle"),
        total_ns=longest("total"),
        tunnel_idle_ns=longest("tunnel_idle"),
        tunnel_drain_ns=round(max(seconds("tunnel_drain")) * 1e9),  # 0 is no time, not none
    )


def _holders(settings: Settings, route: RouteSettings) -> list[_Holder]:
    """What has the values that a route does not set itself: its pools, or without one the top of the tree. Of
    several pools the largest value counts: which one will serve is not known before the request is read."""
    return [settings if name == DEFAULT else settings.pools[name] for name in route.pools] or [settings]


def timeout_ns(seconds: float) -> int:
    """A timeout from the settings, in which 0 turns it off."""
    return round(seconds * 1e9) if seconds else FOREVER_NS
