"""Typed keys of the admin application (L5)."""

from aiohttp import web

from balancer.admin.view import Instance

INSTANCE: web.AppKey[Instance] = web.AppKey("instance", Instance)
