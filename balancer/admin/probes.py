"""`/healthz` and `/readyz` (L6), for orchestrators."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE


async def healthz(request: web.Request) -> web.Response:
    """The supervisor's event loop runs."""
    return answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 when all workers are ready, first checks are done and nothing drains, else 503 with the reasons.

    `?strict=1`: and every pool that has a route has an eligible upstream.
    """
    strict = Query(request, "strict").choice("strict", "0", "1") == "1"
    reasons = request.app[INSTANCE].unready(strict)
    if reasons:
        return answer({"status": "not ready", "reasons": reasons}, status=503)
    return answer({"status": "ready"})
