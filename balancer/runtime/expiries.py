"""Upstreams whose time is limited (L7): apps that have registered themselves, and must say so again."""

from collections.abc import Callable

from balancer.clock import Clock
from balancer.runtime.states import UpstreamState


class Expiries:
    """Calls `expired` with each upstream whose time is over; `call_later` is the loop's."""

    def __init__(
        self,
        expired: Callable[[UpstreamState], None],
        *,
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._expired = expired
        self._clock = clock
        self._call_later = call_later
        self._calls: dict[UpstreamState, int] = {}  # when the next one is due, ns on the monotonic clock

    def set(self, upstream: UpstreamState, seconds: float) -> None:
        """Its time ends in `seconds`, whatever was said before."""
        upstream.expires_ns = self._clock.monotonic_ns() + round(seconds * 1e9)
        due = self._calls.get(upstream)
        if due is None or upstream.expires_ns < due:  # else that call comes first, and makes the next
            self._call(upstream)

    def forget(self, upstream: UpstreamState) -> None:
        """It is gone."""
        upstream.expires_ns = 0

    def _call(self, upstream: UpstreamState) -> None:
        due = self._calls[upstream] = upstream.expires_ns
        self._call_later(
            max(0.0, (due - self._clock.monotonic_ns()) / 1e9), lambda: self._look(upstream, due)
        )

    def _look(self, upstream: UpstreamState, due: int) -> None:
        if self._calls.get(upstream) != due:
            return  # an earlier one was made since
        del self._calls[upstream]
        if not upstream.expires_ns:
            return
        if upstream.expires_ns > self._clock.monotonic_ns():
            self._call(upstream)
        else:
            self._expired(upstream)
