"""`/api/reload` and `/api/replace` (L6): other settings, or another program, instead of the present one."""

from typing import Any

import msgspec
from aiohttp import web

from balancer.admin.answers import BadRequestError, answer, body_of, error
from balancer.admin.bodies import ReloadOrder
from balancer.admin.changing import Asked
from balancer.admin.keys import INSTANCE
from balancer.admin.view import NotReloadedError, RefusedError

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
    instance, asked = request.app[INSTANCE], Asked(request, "", None, "reloads the settings")
    try:
        view = await instance.reload(
            asked.by, dry_run=order.dry_run, text=order.settings, wanted=asked.is_still_wanted
        )
    except NotReloadedError as problem:
        if not order.dry_run:
            asked.audit(f"{problem.result.replace('_', ' ')}: {problem}")
        status = _UNPROCESSABLE if problem.result == "refused" else _CONFLICT
        return error(str(problem), status, result=problem.result, problems=problem.problems)
    if not order.dry_run:
        asked.audit(view.result)
    return answer(view, revision=instance.revision)


async def replace_program(request: web.Request) -> web.Response:
    """Start the program anew on the same sockets, and finish once it serves. See `ReplaceView`."""
    body: Any = await body_of(request)
    if body.strip() not in (b"", b"{}"):
        raise BadRequestError("the body has the wrong form; write {}")
    instance, asked = request.app[INSTANCE], Asked(request, "", None, "replaces the program")
    try:
        view = await instance.replace(asked.by, asked.is_still_wanted)
    except RefusedError as problem:
        asked.audit(f"refused: {problem}")
        raise
    asked.audit("done")
    return answer(view, revision=instance.revision)


def _order(body: bytes) -> ReloadOrder:
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=ReloadOrder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequestError(f"the body has the wrong form; write {ReloadOrder.EXAMPLE}") from None
