"""`/api/routes` (L6): the routes with the counts of each side, and the weights of a split."""

from collections.abc import Collection
from typing import Any

from aiohttp import web

from balancer.admin.answers import BadRequestError, NotFoundError, answer, body_of, json_object
from balancer.admin.keys import INSTANCE
from balancer.admin.view import GateWish, RouteView
from balancer.telemetry.columns import BUCKETS

_READ_ONLY = '{"read_only": 60}'
_GATE = '{"hold": 600, "abort_if": "errors>+0.5%,p95>1.3x"}'
_EXAMPLE = '{"stable": 50, "canary": 50}'


async def list_routes(request: web.Request) -> web.Response:
    """`{"bounds": [seconds...], "routes": [...]}`; see `RouteView` for the fields."""
    return answer({"bounds": BUCKETS, "routes": await request.app[INSTANCE].routes()})


async def change_route(request: web.Request) -> web.Response:
    """`{"read_only": 60}`: for so many seconds other methods than GET, HEAD and OPTIONS get 503; 0 ends it.
    Answers with the route."""
    given = json_object(await body_of(request), _READ_ONLY)
    seconds = given.get("read_only")
    if given.keys() != {"read_only"} or isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadRequestError(f"the body has the wrong form; write {_READ_ONLY}")
    route = await _asked(request)
    request.app[INSTANCE].set_read_only(route.name, float(seconds))
    return answer(await _asked(request))


async def one_split(request: web.Request) -> web.Response:
    """`{"route": "web", "weights": {"stable": 90, "canary": 10}, "gate": null, "last_gate": null}`; see
    `GateView` and `GateEnd`."""
    route = await _asked(request)
    weights = {side.pool: side.weight for side in route.sides}
    return answer({"route": route.name, "weights": weights, "gate": route.gate, "last_gate": route.last_gate})


async def change_split(request: web.Request) -> web.Response:
    """`{"stable": 50, "canary": 50}`: new weights; those of other sides stay. `{"weights": {...}, "gate":
    {"hold": 600, "abort_if": "errors>+0.5%"}}` takes them back at a breach. Answers like `one_split`."""
    given = json_object(await body_of(request), _EXAMPLE)
    route = await _asked(request)
    gate = None
    if isinstance(given.get("weights"), dict):
        _refuse_unknown(given, ("weights", "gate"), f'{{"weights": {_EXAMPLE}, "gate": {_GATE}}}')
        gate = _gate(given.get("gate"))
        given = given["weights"]
    _refuse_unknown(given, [side.pool for side in route.sides] if route.split else given, _EXAMPLE)
    weights = {pool: _weight(pool, value) for pool, value in given.items()}
    request.app[INSTANCE].split(route.name, weights, gate)
    return await one_split(request)


def _gate(given: Any) -> GateWish | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.keys() != {"hold", "abort_if"}:
        raise BadRequestError(f"the gate has the wrong form; write {_GATE}")
    hold, abort_if = given["hold"], given["abort_if"]
    if isinstance(hold, bool) or not isinstance(hold, int | float) or not isinstance(abort_if, str):
        raise BadRequestError(f"the gate has the wrong form; write {_GATE}")
    return GateWish(float(hold), abort_if)


def _refuse_unknown(given: Collection[str], known: Collection[str], example: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise BadRequestError(
            f"the body has unknown keys: {', '.join(unknown)}; known are {', '.join(known)}; write {example}"
        )


def _weight(pool: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequestError(f"the weight of {pool} is not a whole number; write {_EXAMPLE}")
    return value


async def _asked(request: web.Request) -> RouteView:
    wanted = request.match_info["route"]
    routes = await request.app[INSTANCE].routes()
    for route in routes:
        if route.name == wanted:
            return route
    raise NotFoundError(f"there is no route {wanted!r}; the routes: {', '.join(one.name for one in routes)}")
