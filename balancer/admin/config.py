"""`/api/config` (L5): the effective settings, secrets masked."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE


async def show(request: web.Request) -> web.Response:
    """`{"settings": {...}, "origins": {"timeouts.connect": "environment", ...}}`; `?format=yaml` gives a
    settings file."""
    config = request.app[INSTANCE].config
    if Query(request, "format").choice("format", "json", "yaml") == "yaml":
        return web.Response(text=config.yaml, content_type="application/yaml", charset="utf-8")
    return answer({"settings": config.settings, "origins": config.origins})
