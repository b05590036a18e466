"""`/api/routes` (L6): the routes with the counts of each side, and the weights of a split."""

from collections.abc import Collection
from typing import Any

import msgspec
from aiohttp import web

from balancer.admin.answers import BadRequestError, NotFoundError, answer, body_of
from balancer.admin.bodies import Gate, RoutePatch, Share, decoded, json_object
from balancer.admin.changing import make
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Routes, SplitView
from balancer.admin.view import GateWish, RouteView
from balancer.config.shares import MOST_WEIGHT, in_words

_GATE = '{"hold": 600, "abort_if": "errors>+0.5%,p95>1.3x"}'
_EXAMPLE = '{"stable": 50, "canary": 50}'


async def list_routes(request: web.Request) -> web.Response:
    """All routes."""
    instance = request.app[INSTANCE]
    revision = instance.revision
    return answer(Routes(instance.bounds, await instance.routes()), revision=revision)


async def change_route(request: web.Request) -> web.Response:
    """For so many seconds other methods than GET, HEAD and OPTIONS get 503; 0 ends it. Answers with the
    route."""
    seconds = decoded(await body_of(request), RoutePatch).read_only
    name = (await _asked(request)).name
    wish = f"lets route {name} serve {f'no changes for {seconds:g} s' if seconds else 'changes'}"
    instance = request.app[INSTANCE]
    made = make(request, "", None, wish, lambda by: instance.set_read_only(name, seconds, by))
    return answer(await _asked(request), revision=made.revision)


async def one_split(request: web.Request) -> web.Response:
    """The weights of a route, and what they must hold."""
    revision = request.app[INSTANCE].revision
    return answer(_split(request, await _asked(request)), revision=revision)


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
    wish = f"splits route {route.name} {in_words(weights)}"
    if gate is not None:
        wish += f", back if {gate.abort_if} within {gate.hold:g} s"
    instance = request.app[INSTANCE]
    made = make(request, "", None, wish, lambda by: instance.split(route.name, weights, gate, by))
    return answer(_split(request, await _asked(request)), revision=made.revision)


def _split(request: web.Request, route: RouteView) -> SplitView:
    weights = {side.pool: side.weight for side in route.sides}
    forgets = not request.app[INSTANCE].keeps_changes
    return SplitView(route.name, weights, route.gate, route.last_gate, forgets)


def _gate(given: Any) -> GateWish | None:
    if given is None:
        return None
    gate = _converted(given, Gate, f"the gate has the wrong form; write {_GATE}")
    return GateWish(gate.hold, gate.abort_if)


def _refuse_unknown(given: Collection[str], known: Collection[str], example: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise BadRequestError(
            f"the body has unknown keys: {', '.join(unknown)}; known are {', '.join(known)}; write {example}"
        )


def _weight(pool: str, value: Any) -> int:
    wrong = f"the weight of {pool} is not a whole number from 0 to {MOST_WEIGHT}; write {_EXAMPLE}"
    weight: int = _converted(value, Share, wrong)
    return weight


def _converted(value: Any, kind: Any, wrong: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise BadRequestError(wrong) from None


async def _asked(request: web.Request) -> RouteView:
    wanted = request.match_info["route"]
    routes = await request.app[INSTANCE].routes()
    for route in routes:
        if route.name == wanted:
            return route
    raise NotFoundError(f"there is no route {wanted!r}; the routes: {', '.join(one.name for one in routes)}")
