"""`/api/pools` (L6): the state of pools and upstreams, and changes to upstreams."""

from collections.abc import Iterable
from urllib.parse import quote

from aiohttp import web
from msgspec import UNSET

from balancer.admin.answers import GoneError, NotFoundError, answer, body_of, error
from balancer.admin.bodies import NewUpstream, UpstreamPatch, decoded
from balancer.admin.changing import Asked, make
from balancer.admin.keys import INSTANCE
from balancer.admin.registration import is_by_app
from balancer.admin.replies import Pools, Upstreams
from balancer.admin.view import REGISTERED, Change, PoolView, UpstreamView

_MOST_NAMES = 20  # listed in a message


async def list_pools(request: web.Request) -> web.Response:
    """All pools."""
    instance = request.app[INSTANCE]
    revision = instance.revision
    return answer(Pools(instance.bounds, await instance.pools()), revision=revision)


async def one_pool(request: web.Request) -> web.Response:
    """One element of `pools`."""
    revision = request.app[INSTANCE].revision
    return answer(await _asked_pool(request), revision=revision)


async def list_upstreams(request: web.Request) -> web.Response:
    """The upstreams of one pool."""
    revision = request.app[INSTANCE].revision
    pool = await _asked_pool(request)
    return answer(Upstreams(pool.upstreams), revision=revision)


async def one_upstream(request: web.Request) -> web.Response:
    """One element of `upstreams`."""
    return answer(_asked_upstream(request), revision=request.app[INSTANCE].revision)


async def change_upstream(request: web.Request) -> web.Response:
    """Change the admin state, the weight, or both; answers with the upstream as it is now."""
    change = _change(decoded(await body_of(request), UpstreamPatch))
    pool, upstream = _asked_name(request), _asked_upstream(request).id
    instance = request.app[INSTANCE]
    wish = f"sets {upstream} of pool {pool} to {_in_words(change)}"
    made = make(request, pool, upstream, wish, lambda by: instance.change(pool, upstream, change, by))
    return answer(instance.upstream(pool, upstream), revision=made.revision)


async def add_upstream(request: web.Request) -> web.Response:
    """Add an upstream; answers with it, and its path in Location: 201 if it is new, 200 if it was there. With
    a time to live it is no operator's setting: apps send it again and again."""
    new = decoded(await body_of(request), NewUpstream)
    pool, instance = _asked_name(request), request.app[INSTANCE]
    wish = f"adds {new.upstream} to pool {pool}"
    by_app = is_by_app(request)
    if new.ttl is not UNSET:
        asked = Asked(request, pool, None, f"{wish} for {new.ttl} s")
        asked.is_still_wanted()
        added, is_new = instance.register(pool, new.upstream, new.ttl, by_app)
        if is_new:
            asked.audit("done")
        revision = instance.revision
    elif by_app:
        return error(f"this token registers upstreams for a time: write {NewUpstream.EXAMPLE_OF_APPS}", 403)
    else:
        added = ""

        def add(by: str) -> None:
            nonlocal added
            added = instance.add(pool, new.upstream, by)

        made = make(request, pool, None, wish, add)
        is_new, revision = made.changed, made.revision
    where = {"Location": f"/api/pools/{pool}/upstreams/{quote(added, safe='')}"}
    return answer(instance.upstream(pool, added), 201 if is_new else 200, where, revision=revision)


async def remove_upstream(request: web.Request) -> web.Response:
    """Remove an upstream; answers with its last state, or 404 with `"result": "gone"` if there is none."""
    pool, instance = _asked_name(request), request.app[INSTANCE]
    try:
        upstream = _asked_upstream(request)
    except NotFoundError as problem:
        raise GoneError(str(problem)) from None
    wish = f"removes {upstream.id} from pool {pool}"
    if is_by_app(request):
        if upstream.source != REGISTERED:
            return error(f"{upstream.id} was not registered with this token: the ADMIN_TOKEN removes it", 403)
        asked = Asked(request, pool, upstream.id, wish)
        asked.is_still_wanted()
        instance.deregister(pool, upstream.id)
        asked.audit("done")
        return answer(upstream, revision=instance.revision)
    made = make(request, pool, upstream.id, wish, lambda by: instance.remove(pool, upstream.id, by))
    return answer(upstream, revision=made.revision)


def _change(patch: UpstreamPatch) -> Change:
    return Change(
        None if patch.admin_state is UNSET else patch.admin_state,
        None if patch.weight is UNSET else patch.weight,
    )


def _in_words(change: Change) -> str:
    words = [] if change.admin_state is None else [str(change.admin_state)]
    return " and ".join(words if change.weight is None else [*words, f"weight {change.weight}"])


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
