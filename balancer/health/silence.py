"""Since when an upstream has answered neither checks nor requests (L5). Pure: no time, no I/O."""

from typing import NamedTuple

from balancer.health.result import Result

# Nothing came back. An upstream that refuses or resets connections may still answer older requests.
SAYS_NOTHING = frozenset((Result.TIMEOUT, Result.UNREACHABLE))


class Reading(NamedTuple):
    """How many requests an upstream had answered at one moment, whatever the status."""

    now_ns: int
    answers: int


class Silence:
    """The silence of one upstream. `checks`: checks in a row without an answer, while no request was answered
    either. `since_ns`: a time at which the first of them was already waiting, 0 if there are none.

    An app that serves requests in order has not begun a request sent after `since_ns`: the check was there
    before it.
    """

    __slots__ = ("_answers", "checks", "since_ns")

    def __init__(self) -> None:
        self._answers = 0
        self.checks = 0
        self.since_ns = 0

    def goes_on(self, before: Reading, answers: int) -> None:
        """One more check without an answer. `before` is a reading taken while it waited, `answers` the number
        of requests answered by now."""
        if not self.checks or answers != self._answers:
            self.end()
            if before.answers != answers:
                return
            self.since_ns = before.now_ns
            self._answers = answers
        self.checks += 1

    def end(self) -> None:
        """It has answered, or its address has changed."""
        self.checks = 0
        self.since_ns = 0
