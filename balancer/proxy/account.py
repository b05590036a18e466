"""Collects what happens to a request that is explained, while it goes on; `narrating` makes the record.

Most requests have none. One begins with the request if somebody has asked for it, else with its first
trouble: a failed attempt, or an error of ours. What was before that is then known only in part.
"""

from typing import Final

from balancer.errors import Failure
from balancer.pools.picture import Picture
from balancer.spec.explained import RouteTaken
from balancer.upstreams.upstream import Upstream

FAILURE: Final = "failure"
RETRY: Final = "retry"
MOST: Final = 16  # choices, waits and attempts that are kept of one request, of each


class Chosen:
    """A choice; `upstream` is None if there was none to choose."""

    __slots__ = ("at_ns", "picture", "upstream")

    def __init__(self, upstream: Upstream | None, at_ns: int, picture: Picture | None) -> None:
        self.upstream = upstream
        self.at_ns = at_ns
        self.picture = picture


class Wait:
    """A wait in the queue, or for a connection to `upstream`."""

    __slots__ = ("at_ns", "ended_ns", "result", "upstream")

    def __init__(self, at_ns: int, upstream: Upstream | None) -> None:
        self.at_ns = at_ns
        self.upstream = upstream
        self.ended_ns = -1
        self.result = ""

    def end(self, now_ns: int, result: str) -> None:
        """It is over, by `result`."""
        self.ended_ns = now_ns
        self.result = result


class Ended:
    """An attempt that is over, and was not the last one. `sent_ns` is -1 if nothing was sent, `first_byte_ns`
    if there was no response."""

    __slots__ = ("detail", "ended_ns", "first_byte_ns", "result", "reused", "sent_ns", "upstream")

    def __init__(self, upstream: Upstream, ended_ns: int, result: str, detail: str) -> None:
        self.upstream = upstream
        self.ended_ns = ended_ns
        self.result = result
        self.detail = detail
        self.sent_ns = -1
        self.first_byte_ns = -1
        self.reused = False


class Account:
    """Of one request. `why` somebody wants to know; `is_whole`: since its beginning. `phase` is what it
    waited for when its deadline passed, "" if none did. `was_begun`: a response had begun when it failed.
    `not_again`: why it was not sent again after its last attempt."""

    __slots__ = ("_pending", "attempts", "choices", "client", "detail", "fields", "is_whole",
                 "not_again", "phase", "route", "scheme", "target", "waits", "was_begun", "why")  # fmt: skip

    def __init__(self, why: str, is_whole: bool, route: RouteTaken, target: str) -> None:
        self.why = why
        self.is_whole = is_whole
        self.route = route
        self.target = target
        self.fields: tuple[tuple[str, str], ...] = ()
        self.client = ""
        self.scheme = ""
        self.choices: list[Chosen] = []
        self.waits: list[Wait] = []
        self.attempts: list[Ended] = []
        self.phase = ""
        self.detail = ""
        self.not_again = ""
        self.was_begun = False
        self._pending: Picture | None = None  # before a choice of which the result is not known yet

    def fail(self, detail: str, was_begun: bool) -> None:
        """The balancer answers by itself, or breaks off a response that `was_begun`."""
        self.detail = detail
        self.was_begun = was_begun
        if self.why == RETRY:
            self.why = FAILURE

    @property
    def saw(self) -> bool:
        """Whether it has looked at the pool."""
        return self._pending is not None or any(one.picture is not None for one in self.choices)

    # --- choices

    def look(self, seen: Picture) -> None:
        """An upstream is about to be chosen among these."""
        self._pending = seen

    def chose(self, upstream: Upstream | None, now_ns: int) -> None:
        """The result, None if there was none to choose."""
        seen, self._pending = self._pending, None
        if len(self.choices) < MOST:
            self.choices.append(Chosen(upstream, now_ns if seen is None else seen.at_ns, seen))

    def settle_choice(self, upstream: Upstream | None, now_ns: int) -> None:
        """The upstream that is used shows what was chosen, if that is not known yet."""
        if self._pending is not None:
            self.chose(upstream, now_ns)

    # --- waits

    def queues(self, now_ns: int) -> None:
        """It waits for a slot."""
        self.settle_choice(None, now_ns)
        if len(self.waits) < MOST:
            self.waits.append(Wait(now_ns, None))

    def dials(self, upstream: Upstream, now_ns: int) -> None:
        """It waits for a connection to `upstream`."""
        self.settle_choice(upstream, now_ns)
        if len(self.waits) < MOST:
            self.waits.append(Wait(now_ns, upstream))

    def waited(self, upstream: Upstream | None, now_ns: int, result: str) -> None:
        """The last wait for it is over."""
        for wait in reversed(self.waits):
            if wait.upstream is upstream and wait.ended_ns < 0:
                wait.end(now_ns, result)
                break

    # --- attempts

    def dial_failed(self, upstream: Upstream, now_ns: int, failure: Failure, detail: str) -> None:
        """There is no connection to `upstream`."""
        self.waited(upstream, now_ns, failure.reason)
        if len(self.attempts) < MOST:
            self.attempts.append(Ended(upstream, now_ns, failure.reason, detail))

    def attempt_ended(self, ended: Ended) -> None:
        """An attempt is over, and perhaps another one follows."""
        self.settle_choice(ended.upstream, ended.sent_ns)
        if len(self.attempts) < MOST:
            self.attempts.append(ended)
