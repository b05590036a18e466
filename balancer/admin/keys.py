"""Typed keys of the admin application (L6)."""

from aiohttp import web

from balancer.admin.access import Access
from balancer.admin.view import Instance

VIA: web.AppKey[str] = web.AppKey("via", str)  # the instance's name in Via, "" if it writes none
INSTANCE: web.AppKey[Instance] = web.AppKey("instance", Instance)
ACCESS: web.AppKey[Access] = web.AppKey("access", Access)
