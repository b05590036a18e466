"""Since when an upstream has answered nobody, neither checks nor requests (L5). Pure: no time, no I/O."""

from typing import NamedTuple

from balancer.health.result import Result

# Nothing came back. Who refuses or resets connections may have requests that it still answers.
SAYS_NOTHING = frozenset((Result.TIMEOUT, Result.UNREACHABLE))


class Reading(NamedTuple):
    """How many requests an upstream had answered at a moment, whatever the status."""

    now_ns: int
    answers: int


class Silence:
    """Of one upstream. `checks` are those in a row without an answer, while no request was answered either;
    `since_ns` is when the first of them was already waiting, 0 while there are none.

    A request that came after `since_ns` has not been begun by an app that takes what comes in turn: the check
    was there before it.
    """

    __slots__ = ("_answers", "checks", "since_ns")

    def __init__(self) -> None:
        self._answers = 0
        self.checks = 0
        self.since_ns = 0

    def goes_on(self, before: Reading, answers: int) -> None:
        """One more check without an answer. `before` is how things were while it waited, `answers` how many
        requests have been answered by now."""
        if not self.checks or answers != self._answers:
            self.end()
            if before.answers != answers:
                return
            self.since_ns = before.now_ns
            self._answers = answers
        self.checks += 1

    def end(self) -> None:
        """It has answered, or it is another machine now."""
        self.checks = 0
        self.since_ns = 0
