"""How long the clients of a pool wait before they give up, learned from those that left while waiting.

The queue and the pool report the end of each wait; the queue derives its deadline from the result.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from balancer.edges import STANDARD, Edges

_OCTAVES: Final = 64  # of nanoseconds: enough for any age
_WINDOW_NS: Final = 500_000_000
# A smaller share of a window's requests being abandoned is normal: port scanners, cancelled page loads.
_NOTABLE: Final = 0.1
# The share of clients that have left by the age we look for.
_GIVEN_UP: Final = 0.5
# At least this many must still have been waiting at an age, or it may be chance.
_FEW: Final = 16.0
_MANY: Final = 1024.0  # cap on old evidence: it must not outweigh new evidence for ever
_HALF_LIFE_NS: Final = 30_000_000_000


class Patience:
    """A survival estimate (Kaplan, Meier, 1958): of the clients still waiting at an age, the share that left
    before twice that age. Clients that were served or refused, or still wait, have only shown that they had
    not left by then; so a few that never wait for long say nothing about the others.

    Evidence fades by half in 30 s. If too little is left, the age is unknown again.
    """

    __slots__ = ("_edges", "_evidence", "_learned_ns", "_left", "_left_sum", "_requests", "_since_ns",
                 "_stayed", "_totals", "_waiting")  # fmt: skip

    def __init__(self, edges: Edges = STANDARD) -> None:
        self._edges = edges
        # of this window, by octave of the age
        self._since_ns = 0
        self._stayed = [0] * _OCTAVES
        self._left = [0] * _OCTAVES
        self._left_sum = [0] * _OCTAVES
        # at its start
        self._requests = 0
        self._totals: Sequence[int] = ()
        # of all notable windows: how many stayed, how many left, and the sum of the latter's ages
        self._evidence = [[0.0] * _OCTAVES for _ in range(3)]
        self._waiting = [0] * _OCTAVES  # at the end of the last of them
        self._learned_ns = 0

    def stayed(self, age_ns: int) -> None:
        """A client has waited for `age_ns` without leaving: it was served or refused."""
        self._stayed[age_ns.bit_length()] += 1

    def left(self, age_ns: int, now_ns: int) -> bool:
        """A client has left after `age_ns`; returns True if it is time to `learn`."""
        octave = age_ns.bit_length()
        self._left[octave] += 1
        self._left_sum[octave] += age_ns
        return now_ns - self._since_ns >= _WINDOW_NS

    def learn(
        self, now_ns: int, requests: int, first_bytes: Sequence[int], ages: Iterable[int], others: int
    ) -> None:
        """Evaluate the time since the last call.

        `requests`: the pool's requests so far; `first_bytes`: their times to the first byte, as a histogram
        by bucket. `ages` (ns) of those waiting now, and the number of `others` waiting, of unknown age.
        """
        left = sum(self._left, 0)
        if left and left >= _NOTABLE * (requests - self._requests):
            for bound, total, before in zip(self._edges.ns, first_bytes, self._totals, strict=False):
                self._stayed[bound.bit_length()] += max(0, total - before)  # lower if an upstream was removed
            self._keep(now_ns)
            self._waiting = [0] * _OCTAVES
            self._waiting[-1] = others
            for age in ages:
                self._waiting[age.bit_length()] += 1
        self._since_ns = now_ns
        self._stayed = [0] * _OCTAVES
        self._left = [0] * _OCTAVES
        self._left_sum = [0] * _OCTAVES
        self._requests = requests
        self._totals = first_bytes

    def _keep(self, now_ns: int) -> None:
        old = sum(self._evidence[1], 0.0)
        kept = self._faded(now_ns) * min(1.0, _MANY / old if old else 1.0)
        for kind, seen in zip(self._evidence, (self._stayed, self._left, self._left_sum), strict=True):
            kind[:] = [before * kept + now for before, now in zip(kind, seen, strict=True)]
        self._learned_ns = now_ns

    def _faded(self, now_ns: int) -> float:
        return math.exp2((self._learned_ns - now_ns) / _HALF_LIFE_NS)

    def give_up_ns(self, now_ns: int) -> int:
        """The age in ns at which half of the clients have left; 0 if unknown."""
        kept = self._faded(now_ns)
        all_stayed, all_left, sums = self._evidence
        there = kept * (sum(all_stayed, 0.0) + sum(all_left, 0.0) + sum(self._waiting, 0.0))
        waiting = 1.0
        for stayed, left, total, yet in zip(all_stayed, all_left, sums, self._waiting, strict=True):
            stay = kept * (stayed + yet)
            at_risk = there - stay / 2
            if at_risk < _FEW:
                return 0
            waiting *= 1.0 - left * kept / at_risk
            if waiting <= 1.0 - _GIVEN_UP:
                return round(total / left)
            there -= stay + left * kept
        return 0
