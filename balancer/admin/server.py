"""Serves the admin application (L5) on a socket that is already listening."""

import socket

from aiohttp import web

from balancer.admin.app import build_app
from balancer.admin.view import Instance

LAST_ANSWERS = 1.0  # seconds that running requests may take when the server stops


class AdminServer:
    """The admin listener's HTTP server, in the running event loop."""

    def __init__(self, instance: Instance) -> None:
        self._runner = web.AppRunner(
            build_app(instance), access_log=None, handle_signals=False, shutdown_timeout=LAST_ANSWERS
        )

    async def start(self, sock: socket.socket) -> None:
        """Answer on `sock` from now on; `stop` closes it."""
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Answer what runs, and close."""
        await self._runner.cleanup()
