"""Keeps the lookups of names in sync with the fleet (L7)."""

from balancer.config.address import needs_no_look_up
from balancer.discovery.discovery import Discovery
from balancer.runtime.states import UpstreamState


class LookedUp:
    """Looks up the names of upstreams for as long as these are there (`states.FleetWatcher`)."""

    def __init__(self, discovery: Discovery[UpstreamState]) -> None:
        self._discovery = discovery

    def added(self, upstream: UpstreamState) -> None:
        """Look its name up, if it has one."""
        if not needs_no_look_up(upstream.host):
            self._discovery.watch(upstream)

    def moved(self, upstream: UpstreamState) -> None:
        """Ignored: discovery has reported it."""

    def wanted(self, upstream: UpstreamState) -> None:
        """Ignored: an address may change in any state."""

    def removed(self, upstream: UpstreamState) -> None:
        """Look it up no longer."""
        self._discovery.forget(upstream)
