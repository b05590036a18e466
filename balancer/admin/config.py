"""`/api/config` (L6): the effective settings, secrets masked."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.keys import INSTANCE


async def show(request: web.Request) -> web.Response:
    """`{"settings": {...}, "origins": {"timeouts.connect": "environment", ...}, "live_changes": [...]}`;
    `?format=yaml` returns a settings file, with the live changes that such a file can express."""
    instance = request.app[INSTANCE]
    config = instance.config
    if Query(request, "format").choice("format", "json", "yaml") == "yaml":
        return web.Response(text=config.yaml, content_type="application/yaml", charset="utf-8")
    return answer(
        {"settings": config.settings, "origins": config.origins, "live_changes": instance.live_changes()}
    )
