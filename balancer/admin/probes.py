"""`/healthz` and `/readyz` (L5), for orchestrators."""

from aiohttp import web

from balancer.admin.keys import INSTANCE


async def healthz(request: web.Request) -> web.Response:
    """The supervisor's event loop runs."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 when all workers are ready and nothing drains, else 503 with the reasons."""
    reasons = request.app[INSTANCE].unready()
    if reasons:
        return web.json_response({"status": "not ready", "reasons": reasons}, status=503)
    return web.json_response({"status": "ready"})
