"""A reader of responses for tests of what is below the exchange."""

from balancer.connections.roles import Outlet, ResponseReader
from balancer.errors import Failure
from balancer.http.response_head import ResponseHead


class UntoldReader(ResponseReader):
    """Fails on every call: tests override what they expect."""

    def informational(self, head: ResponseHead) -> None:
        raise AssertionError("informational")

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        raise AssertionError("response")

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        raise AssertionError("response_body")

    def switched(self, head: ResponseHead, data: bytes) -> None:
        raise AssertionError("switched")

    def tunnel_data(self, data: bytes) -> None:
        raise AssertionError("tunnel_data")

    def tunnel_half_closed(self) -> None:
        raise AssertionError("tunnel_half_closed")

    def tunnel_ended(self) -> None:
        raise AssertionError("tunnel_ended")

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        raise AssertionError(f"upstream_failed: {detail}")

    def upstream_paused(self, paused: bool) -> None:
        raise AssertionError("upstream_paused")

    def crashed(self, error: Exception) -> None:
        raise error

    def outlet(self) -> Outlet | None:
        raise AssertionError("outlet")
