"""`/api/config` and `/api/live_changes` (L6): the settings in force, and what operators have changed."""

from aiohttp import web

from balancer.admin.answers import Query, answer
from balancer.admin.changing import make
from balancer.admin.keys import INSTANCE
from balancer.admin.replies import Config, Forgotten


async def show_config(request: web.Request) -> web.Response:
    """All settings; `?format=yaml` returns a settings file, with the live changes that it can express."""
    instance = request.app[INSTANCE]
    config, revision = instance.config, instance.revision
    if Query(request, "format").choice("format", "json", "yaml") == "yaml":
        tag = {"ETag": f'"{revision}"'}
        return web.Response(text=config.yaml, content_type="application/yaml", charset="utf-8", headers=tag)
    return answer(Config(config.settings, config.origins, instance.live_changes()), revision=revision)


async def forget_changes(request: web.Request) -> web.Response:
    """Everything is as in the settings again."""
    instance = request.app[INSTANCE]
    count = len(instance.live_changes())
    made = make(request, "", None, "forgets all changes", instance.forget)
    return answer(Forgotten(count), revision=made.revision)
