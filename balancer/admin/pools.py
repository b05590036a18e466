"""`/api/pools` (L6): the state of pools and upstreams, and changes to upstreams."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from aiohttp import web

from balancer.admin.answers import BadRequestError, NotFoundError, answer, body_of, json_object
from balancer.admin.keys import INSTANCE
from balancer.admin.view import Change, PoolView, UpstreamView
from balancer.config.upstream_spec import MAX_WEIGHT
from balancer.telemetry.columns import BUCKETS
from balancer.upstreams.state import AdminState

ADMIN_STATES = tuple(state.value for state in AdminState)
_MOST_NAMES = 20  # listed in a message
_TAKES = ("admin_state", "weight")
_NEW_EXAMPLE = '{"upstream": "10.0.0.9:8000"}'
_EXAMPLE = '{"admin_state": "draining"} or {"weight": 3}'


async def list_pools(request: web.Request) -> web.Response:
    """`{"first_byte_bounds": [seconds...], "pools": [...]}`; see `PoolView` for the fields."""
    pools = await request.app[INSTANCE].pools()
    return answer({"first_byte_bounds": BUCKETS, "pools": pools})


async def one_pool(request: web.Request) -> web.Response:
    """One element of `pools`."""
    return answer(await _asked_pool(request))


async def list_upstreams(request: web.Request) -> web.Response:
    """`{"upstreams": [...]}` of one pool."""
    pool = await _asked_pool(request)
    return answer({"upstreams": pool.upstreams})


async def one_upstream(request: web.Request) -> web.Response:
    """One element of `upstreams`."""
    return answer(_asked_upstream(request))


async def change_upstream(request: web.Request) -> web.Response:
    """`{"admin_state": "draining", "weight": 3}`, either or both; answers with the changed upstream."""
    change = _change(await body_of(request))
    _asked_upstream(request)
    request.app[INSTANCE].change(request.match_info["pool"], request.match_info["id"], change)
    return answer(_asked_upstream(request))


async def add_upstream(request: web.Request) -> web.Response:
    """`{"upstream": "10.0.0.9:8000?weight=2"}`; answers with the upstream, and its path in Location."""
    pool = _asked_name(request)
    given = _fields(await body_of(request), ("upstream",), _NEW_EXAMPLE)["upstream"]
    if not isinstance(given, str):
        raise BadRequestError(f"upstream {given!r} is not text; write {_NEW_EXAMPLE}")
    instance = request.app[INSTANCE]
    added = instance.add(pool, given)
    where = {"Location": f"/api/pools/{pool}/upstreams/{quote(added)}"}
    return answer(instance.upstream(pool, added), 201, where)


async def remove_upstream(request: web.Request) -> web.Response:
    """Remove an upstream; answers with its last state."""
    upstream = _asked_upstream(request)
    request.app[INSTANCE].remove(request.match_info["pool"], upstream.id)
    return answer(upstream)


def _fields(body: bytes, known: tuple[str, ...], example: str) -> dict[str, Any]:
    """The JSON object in `body`: at least one field, and known ones only."""
    given = json_object(body, example)
    for name in given:
        if name not in known:
            raise BadRequestError(f"unknown field {name!r}; known: {', '.join(known)}")
    return given


def _change(body: bytes) -> Change:
    given = _fields(body, _TAKES, _EXAMPLE)
    return Change(
        _admin_state(given["admin_state"]) if "admin_state" in given else None,
        _weight(given["weight"]) if "weight" in given else None,
    )


def _admin_state(value: Any) -> str:
    if value not in ADMIN_STATES:
        raise BadRequestError(f"admin_state {value!r} is not known; write {', '.join(ADMIN_STATES)}")
    return str(value)


def _weight(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_WEIGHT:
        raise BadRequestError(f"weight {value!r} is not a whole number from 1 to {MAX_WEIGHT}")
    return value


def _asked_upstream(request: web.Request) -> UpstreamView:
    pool, wanted = _asked_name(request), request.match_info["id"]
    instance = request.app[INSTANCE]
    try:
        return instance.upstream(pool, wanted)
    except KeyError:
        names = _listed(instance.names()[pool])
        raise NotFoundError(f"pool {pool} has no upstream {wanted!r}; it has {names}") from None


def _asked_name(request: web.Request) -> str:
    """The name of the requested pool. Raises NotFoundError if there is none."""
    wanted, names = request.match_info["pool"], request.app[INSTANCE].names()
    if wanted not in names:
        raise NotFoundError(f"there is no pool {wanted!r}; the pools: {_listed(names)}")
    return wanted


async def _asked_pool(request: web.Request) -> PoolView:
    wanted = _asked_name(request)
    return next(pool for pool in await request.app[INSTANCE].pools() if pool.name == wanted)


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMES
    return ", ".join(listed[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "") or "none"
