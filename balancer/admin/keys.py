"""Typed keys of the admin application (L6)."""

from aiohttp import web

from balancer.admin.hosts import Hosts
from balancer.admin.view import Instance

TOKEN: web.AppKey[str] = web.AppKey("token", str)  # "" if none is set
VIA: web.AppKey[str] = web.AppKey("via", str)  # the instance's name in Via, "" if it writes none
INSTANCE: web.AppKey[Instance] = web.AppKey("instance", Instance)
HOSTS: web.AppKey[Hosts] = web.AppKey("hosts", Hosts)
