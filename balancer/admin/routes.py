"""`/api/routes` (L6): the routes with the counts of each side, and the weights of a split."""

from typing import Any

from aiohttp import web

from balancer.admin.answers import BadRequestError, NotFoundError, answer, body_of, json_object
from balancer.admin.keys import INSTANCE
from balancer.admin.view import RouteView
from balancer.telemetry.columns import BUCKETS

_EXAMPLE = '{"stable": 50, "canary": 50}'


async def list_routes(request: web.Request) -> web.Response:
    """`{"bounds": [seconds...], "routes": [...]}`; see `RouteView` for the fields."""
    return answer({"bounds": BUCKETS, "routes": await request.app[INSTANCE].routes()})


async def one_split(request: web.Request) -> web.Response:
    """`{"route": "web", "weights": {"stable": 90, "canary": 10}}`"""
    route = await _asked(request)
    return answer({"route": route.name, "weights": {side.pool: side.weight for side in route.sides}})


async def change_split(request: web.Request) -> web.Response:
    """`{"stable": 50, "canary": 50}`: new weights; those of other sides stay. Answers like `one_split`."""
    given = json_object(await body_of(request), _EXAMPLE)
    weights = {pool: _weight(pool, value) for pool, value in given.items()}
    route = await _asked(request)
    request.app[INSTANCE].split(route.name, weights)
    return await one_split(request)


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
