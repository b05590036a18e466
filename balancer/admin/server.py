"""Serves the admin application (L5) on a socket that is already listening."""

import logging
import socket

from aiohttp import web
from aiohttp.http import HttpProcessingError

from balancer.admin.app import build_app
from balancer.admin.view import Instance

LAST_ANSWERS = 1.0  # seconds that running requests may take when the server stops


def _logger() -> logging.Logger:
    """aiohttp's, without a traceback for each request that is not HTTP: it has been answered with 400."""
    logger = logging.getLogger("balancer.admin")
    logger.addFilter(_is_no_clients_fault)
    return logger


def _is_no_clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


class AdminServer:
    """The admin listener's HTTP server, in the running event loop."""

    def __init__(self, instance: Instance, token: str, via: str) -> None:
        self._runner = web.AppRunner(
            build_app(instance, token, via),
            access_log=None,
            logger=_logger(),
            handle_signals=False,
            shutdown_timeout=LAST_ANSWERS,
        )

    async def start(self, sock: socket.socket) -> None:
        """Answer on `sock` from now on; `stop` closes it."""
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Answer what runs, and close."""
        await self._runner.cleanup()
