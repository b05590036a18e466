"""`/api/reload` and `/api/replace` (L6): other settings, or another program, instead of the present one."""

from typing import Any

import orjson
from aiohttp import web

from balancer.admin.answers import BadRequestError, answer, body_of, error
from balancer.admin.guard import who
from balancer.admin.keys import INSTANCE
from balancer.admin.view import NotReloadedError

_EXAMPLE = '{}, {"dry_run": true}, or {"dry_run": true, "settings": "upstreams: app1:8000"}'


async def reload(request: web.Request) -> web.Response:
    """`{}`: take up what has changed. `{"dry_run": true}`: only say what would. With `settings`, the text of
    a settings file, that is looked at instead of the present one. See `ReloadView`."""
    given = _given(await body_of(request))
    dry_run, text = given.get("dry_run", False), given.get("settings")
    if not isinstance(dry_run, bool) or not (text is None or isinstance(text, str)):
        raise BadRequestError(f"the body has the wrong form; write {_EXAMPLE}")
    if text is not None and not dry_run:
        raise BadRequestError(
            "settings from a request are not taken up, as they would be gone at the next start; write "
            'them to the settings file, or set "dry_run": true'
        )
    try:
        view = await request.app[INSTANCE].reload(who(request), dry_run=dry_run, text=text)
    except NotReloadedError as problem:
        status = 422 if problem.result == "refused" else 409
        return error(str(problem), status, result=problem.result, problems=problem.problems)
    return answer(view)


async def replace(request: web.Request) -> web.Response:
    """`{}`: start the program anew on the same sockets, and finish once it serves. See `ReplaceView`."""
    if _given(await body_of(request)):
        raise BadRequestError("the body has the wrong form; write {}")
    return answer(await request.app[INSTANCE].replace(who(request)))


def _given(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not given.keys() <= {"dry_run", "settings"}:
        raise BadRequestError(f"the body has the wrong form; write {_EXAMPLE}")
    return given
