"""`/api/reload` and `/api/replace` (L6): other settings, or another program, instead of the present one."""

from typing import Any

import msgspec
from aiohttp import web

from balancer.admin.answers import BadRequestError, answer, body_of, error
from balancer.admin.bodies import ReloadOrder
from balancer.admin.changing import caller
from balancer.admin.keys import INSTANCE
from balancer.admin.view import NotReloadedError

_UNPROCESSABLE, _CONFLICT = 422, 409


async def reload_settings(request: web.Request) -> web.Response:
    """`{}`: take up what has changed. `{"dry_run": true}`: only say what would. With `settings`, the text of
    a settings file, that is looked at instead of the present one. See `ReloadView`."""
    order = _order(await body_of(request))
    if order.settings is not None and not order.dry_run:
        raise BadRequestError(
            "settings from a request are not taken up, as they would be gone at the next start; write "
            'them to the settings file, or set "dry_run": true'
        )
    instance = request.app[INSTANCE]
    try:
        view = await instance.reload(caller(request), dry_run=order.dry_run, text=order.settings)
    except NotReloadedError as problem:
        status = _UNPROCESSABLE if problem.result == "refused" else _CONFLICT
        return error(str(problem), status, result=problem.result, problems=problem.problems)
    return answer(view)


async def replace_program(request: web.Request) -> web.Response:
    """Start the program anew on the same sockets, and finish once it serves. See `ReplaceView`."""
    body: Any = await body_of(request)
    if body.strip() not in (b"", b"{}"):
        raise BadRequestError("the body has the wrong form; write {}")
    return answer(await request.app[INSTANCE].replace(caller(request)))


def _order(body: bytes) -> ReloadOrder:
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=ReloadOrder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequestError(f"the body has the wrong form; write {ReloadOrder.EXAMPLE}") from None
