"""Serves the admin application (L6) on a socket that is already listening."""

import asyncio
import logging
import socket
from collections.abc import Iterable

from aiohttp import web
from aiohttp.http import HttpProcessingError

from balancer.admin.app import build_app
from balancer.admin.connections import Connections
from balancer.admin.hosts import Hosts, is_loopback
from balancer.admin.keys import ACCESS
from balancer.admin.registration import Tokens, no_tokens
from balancer.admin.view import Instance
from balancer.clock import Clock, SystemClock

LAST_ANSWERS = 1.0  # seconds that running requests may still take when the server stops
UNREAD = 1.0  # seconds for reading the rest of an unused body, so that the client sees the answer


def _logger() -> logging.Logger:
    """aiohttp's logger, without a traceback for each request that is not HTTP, which was answered with 400,
    and for each client that has left before its answer."""
    logger = logging.getLogger("balancer.admin")
    logger.addFilter(_is_no_clients_fault)
    return logger


def _is_no_clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionResetError)


class AdminServer:
    """The admin listener's HTTP server, in the running event loop.

    `hosts` are the names of ADMIN_HOSTS; `most` is the limit on connections; `registration_tokens` returns
    the present ones.
    """

    def __init__(
        self,
        instance: Instance,
        token: str,
        via: str,
        hosts: Iterable[str] = (),
        *,
        most: int,
        clock: Clock | None = None,
        registration_tokens: Tokens = no_tokens,
    ) -> None:
        self._names = frozenset(hosts)
        self._most = most
        self._clock = clock or SystemClock()
        self._app = build_app(instance, token, via, registration_tokens=registration_tokens)
        self._connections: Connections | None = None
        self._is_loopback = False
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            logger=_logger(),
            handle_signals=False,
            shutdown_timeout=LAST_ANSWERS,
            lingering_time=UNREAD,
        )

    async def start(self, sock: socket.socket) -> None:
        """Answer on `sock` from now on; `stop` closes it."""
        self._is_loopback = is_loopback(sock.getsockname()[0])
        self._app[ACCESS].hosts = Hosts(self._names, self._is_loopback)
        self._connections = Connections(sock, self._serve, self._clock, self._most)
        self._app.middlewares.insert(0, self._connections.watching)
        await self._runner.setup()
        self._connections.start()

    def settle(self, token: str, hosts: Iterable[str]) -> None:
        """Let in who has this token, and answer for these names, from now on."""
        self._names = frozenset(hosts)
        access = self._app[ACCESS]
        access.token, access.hosts = token, Hosts(self._names, self._is_loopback)

    async def stop(self) -> None:
        """Finish running requests, and close."""
        if self._connections is not None:
            self._connections.stop()
        await self._runner.cleanup()

    def _serve(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None  # it is set up before connections are accepted
        return server()
