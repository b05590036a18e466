"""A dialler that records how its one dial ended."""

from balancer.connections.connect import DialFailure
from balancer.connections.connector import Connector
from balancer.connections.dial import Dial, Dialler
from balancer.connections.roles import UpstreamSide
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.upstreams.upstream import Upstream


class FakeDialler(Dialler):
    """Dials at once. `ends` counts the calls it got, of which there must be at most one."""

    def __init__(
        self, connector: Connector, upstream: Upstream, fresh: bool = False, careful: bool = False
    ) -> None:
        self.ends = 0
        self.failure: DialFailure | None = None
        self.error: Exception | None = None
        self.reused = False
        self._connection: UpstreamSide | None = None
        self._dial = connector.dial(upstream, self, fresh, careful)
        assert self.ends == 0, "nothing is reported before the dial is known"

    @property
    def connection(self) -> UpstreamConnection:
        """The new connection."""
        assert isinstance(self._connection, UpstreamConnection)
        return self._connection

    def cancel(self) -> None:
        self._dial.cancel()

    def dialled(self, dial: Dial, connection: UpstreamSide, reused: bool) -> None:
        self.ends += 1
        assert dial is self._dial
        self._connection = connection
        self.reused = reused

    def dial_failed(self, dial: Dial, failure: DialFailure) -> None:
        self.ends += 1
        assert dial is self._dial
        self.failure = failure

    def dial_crashed(self, dial: Dial, error: Exception) -> None:
        self.ends += 1
        assert dial is self._dial
        self.error = error
