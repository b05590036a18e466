"""How long an upstream leaves idle connections open, learned from the connections it closes (L3).

An app that closes idle connections sooner than we do closes some of them just as a request is on its way:
the commonest 502 in front of gunicorn, uvicorn and Node. The app does not announce its idle timeout, but the
age of each idle connection that it closes shows it.

Not every close is a timeout. A restart closes all connections at once, at any age. So closes count only if
they agree, and never while an older connection is still open. A learned time is forgotten when a connection
outlives it, or when no close has confirmed it for UNCONFIRMED_NS.
"""

from typing import Final

# at a younger age the reason is another one: no server has so short a timeout
SHORTEST_NS: Final = 100_000_000
UNCONFIRMED_NS: Final = 600_000_000_000
# least time between two closes that confirm each other: one restart is faster
APART_NS: Final = 1_000_000_000
_SLACK_NS: Final = 100_000_000
_CAREFUL_MARGIN_NS: Final = 100_000_000


class IdleTime:
    """One upstream's own idle timeout: `learned_ns`, 0 while it is unknown.

    Call `closed` for each close; `judge` draws the conclusions a few times a second. A time is learned from
    two closes at least APART_NS apart; the shortest age seen counts.
    """

    __slots__ = ("_learned_at_ns", "_longest_ns", "_seen_at_ns", "_seen_ns", "_shortest_ns", "learned_ns")

    def __init__(self) -> None:
        self.learned_ns = 0
        self._learned_at_ns = 0  # when a close last confirmed it
        self._seen_ns = 0  # an age not yet confirmed by a second close, 0 if there is none
        self._seen_at_ns = 0
        # ages of the connections closed since the last `judge`
        self._shortest_ns = 0
        self._longest_ns = 0

    def resume(self, learned_ns: int, now_ns: int) -> None:
        """Another worker has learned this time."""
        self._learn(learned_ns, now_ns)

    def closed(self, age_ns: int) -> None:
        """The upstream has closed a connection that had been idle for `age_ns`."""
        if not self._longest_ns or age_ns < self._shortest_ns:
            self._shortest_ns = age_ns
        if age_ns > self._longest_ns:
            self._longest_ns = age_ns

    def disregard(self) -> None:
        """Ignore the closes since the last `judge`: their ages are not reliable."""
        self._shortest_ns = self._longest_ns = 0

    def judge(self, now_ns: int, oldest_ns: int) -> bool:
        """Update `learned_ns`; whether it has changed. `oldest_ns`: age of the oldest open idle one, or 0."""
        before = self.learned_ns
        shortest, longest = self._shortest_ns, max(self._longest_ns, oldest_ns)
        self._shortest_ns = self._longest_ns = 0
        if not _agree(self._seen_ns, longest) or now_ns - self._seen_at_ns > UNCONFIRMED_NS:
            self._seen_ns = 0
        if not _agree(before, longest) or now_ns - self._learned_at_ns > UNCONFIRMED_NS:
            self.learned_ns = 0
        if shortest >= SHORTEST_NS and _agree(shortest, longest):
            self._agreed(shortest, now_ns)
        return self.learned_ns != before

    def _agreed(self, age_ns: int, now_ns: int) -> None:
        """All open and closed connections are consistent with an idle timeout of about `age_ns`."""
        if self.learned_ns and _agree(min(self.learned_ns, age_ns), max(self.learned_ns, age_ns)):
            self._learn(min(self.learned_ns, age_ns), now_ns)
        elif not self._seen_ns:
            self._seen_ns, self._seen_at_ns = age_ns, now_ns
        elif now_ns - self._seen_at_ns >= APART_NS:
            low, high = min(self._seen_ns, age_ns), max(self._seen_ns, age_ns)
            if _agree(low, high):
                self._learn(low, now_ns)
            else:
                self._seen_ns, self._seen_at_ns = age_ns, now_ns

    def _learn(self, age_ns: int, now_ns: int) -> None:
        self.learned_ns, self._learned_at_ns = age_ns, now_ns
        self._seen_ns = 0

    def usable_ns(self) -> int:
        """Longest idle time at which a connection is used for a request that can be sent again."""
        return self.learned_ns * 4 // 5

    def surely_usable_ns(self) -> int:
        """The same for a request that must not be sent twice."""
        return max(0, min(self.learned_ns // 2, self.learned_ns - _CAREFUL_MARGIN_NS))


def _agree(short_ns: int, long_ns: int) -> bool:
    """Whether two ages may come from one timeout: servers check their connections about once a second."""
    return long_ns <= short_ns + short_ns // 2 + _SLACK_NS
