"""Starts the admin server (L7) after the workers, so that the first request does not wait for its imports."""

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from balancer.admin.view import Instance
from balancer.runtime.aside import aside
from balancer.runtime.plan import Plan

if TYPE_CHECKING:
    from balancer.admin.server import AdminServer


class Admin:
    """The admin server of an instance, and what it needs loaded."""

    def __init__(
        self,
        instance: Instance,
        plan: Plan,
        most: int,
        registration_tokens: Callable[[], Mapping[str, str]],
    ) -> None:
        """`most` is the limit on connections. `registration_tokens` are the present ones, by pool."""
        self._instance = instance
        self._plan = plan
        self._most = most
        self._registration_tokens = registration_tokens
        self._server: AdminServer | None = None
        self.serves = False

    async def serve(self, sock: socket.socket) -> None:
        """Load the server in a thread, and answer on `sock` from then on."""
        server_class = await aside("load-admin", load)
        plan = self._plan
        self._server = server_class(
            self._instance,
            plan.admin_token,
            plan.instance.worker.via,
            plan.admin_hosts,
            most=self._most,
            registration_tokens=self._registration_tokens,
        )
        await self._server.start(sock)
        self.serves = True

    def settle(self, plan: Plan) -> None:
        """The settings are these now."""
        self._plan = plan
        if self._server is not None:
            self._server.settle(plan.admin_token, plan.admin_hosts)

    async def stop(self) -> None:
        """Finish running requests, and close."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()


def load() -> "type[AdminServer]":
    """Load aiohttp, and prometheus_client for the first scrape: together 0.2 s of CPU."""
    from balancer.admin.server import AdminServer
    from balancer.telemetry import fleet_metrics, segment_metrics, slo_metrics  # noqa: F401 - used by `Instance.scrape`

    return AdminServer
