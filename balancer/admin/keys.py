"""Typed keys of the admin application (L5)."""

from aiohttp import web

from balancer.admin.view import Instance

TOKEN: web.AppKey[str] = web.AppKey("token", str)  # "" where none is set
INSTANCE: web.AppKey[Instance] = web.AppKey("instance", Instance)
