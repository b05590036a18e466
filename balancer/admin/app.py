"""The admin application (L6): its routes are the table in `operations`, its handlers a file per resource."""

from aiohttp import web

from balancer.admin import answers, events, guard, pages
from balancer.admin.access import Access
from balancer.admin.hosts import Hosts
from balancer.admin.keys import ACCESS, INSTANCE, VIA
from balancer.admin.openapi import DOCUMENT, Document
from balancer.admin.operations import OPERATIONS
from balancer.admin.registration import REGISTERS, Tokens, no_tokens
from balancer.admin.view import Instance


def build_app(
    instance: Instance,
    token: str = "",
    via: str = "",
    hosts: Hosts | None = None,
    registration_tokens: Tokens = no_tokens,
) -> web.Application:
    """The aiohttp application for `instance`; the caller serves it. Changes need `token`; if it is empty,
    only programs on this machine may make changes. `via` is the instance's name in Via. `hosts` are the names
    it answers for, None for all. `registration_tokens` are those with which apps join a pool."""
    app = web.Application(
        client_max_size=answers.MOST_BODY,
        middlewares=[
            answers.errors_as_json,
            guard.meant_for_this_listener,
            guard.not_from_ourselves,
            guard.changes_need_leave,
        ],
    )
    app[VIA] = via
    app[INSTANCE] = instance
    app[ACCESS] = Access(token, hosts or Hosts())
    app[REGISTERS] = registration_tokens
    app[DOCUMENT] = Document(OPERATIONS)
    # GET also allows HEAD.
    app.add_routes(
        [
            web.get(one.path, one.handler)
            if one.method == "GET"
            else web.route(one.method, one.path, one.handler)
            for one in OPERATIONS
        ]
    )
    app.add_routes(pages.ROUTES)
    app.on_response_prepare.append(answers.name_server)
    app.on_shutdown.append(events.let_go)
    return app
