"""`/healthz` and `/readyz` (L6), for orchestrators."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Alive, Unready


async def healthz(request: web.Request) -> web.Response:
    """200 while the supervisor's event loop is running."""
    return answer(Alive("ok"))


async def readyz(request: web.Request) -> web.Response:
    """200 if all workers are ready, the first checks are done and it is not draining, else 503 with reasons.

    With `?strict=1` every pool that has a route must also have an eligible upstream.
    """
    strict = Query(request, "strict").choice("strict", "0", "1") == "1"
    reasons = request.app[INSTANCE].unready(strict)
    if reasons:
        return answer(Unready("not ready", reasons), status=503)
    return answer(Alive("ready"))
