"""Whether a request goes to an upstream once more, after an attempt that failed or an answer that says no.

One pure function of what happened, what is known of the request, the rules, and what the pool has left.

A request goes again only while no byte of a response has reached the client. An idempotent one (RFC 9110
section 9.2.2) may reach an app twice. Any other may go again only with proof that nobody has read it.
"""

from dataclasses import dataclass
from enum import Enum, auto

from balancer.errors import Failure, RetrySafety
from balancer.pools.pool import Room
from balancer.spec.worker import RetryRules
from balancer.upstreams.upstream import Upstream


class Step(Enum):
    """What happens next."""

    GIVE_UP = auto()  # the client gets the failure, or the answer
    OVER_BUDGET = auto()  # the same, but a retry was only not to be had
    FRESH = auto()  # by a new connection, perhaps to the same upstream
    ANOTHER = auto()  # at an upstream not tried yet
    WAIT = auto()  # for a slot at one of these: all are full


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known of a request when its attempt has ended.

    `repeatable`: its method may be sent twice, or nobody is proven to have read it. `kept`: all that was
    written of its body. `answered`: something of a response has come. `upgrade_refused`: the app closed on an
    upgrade, as one does that does not serve it, and so would all the others. `stale`: the connection was idle
    and ended just as it was taken, which is no failure. `dead`: the upstream is known to be
    (`is_found_dead`). `in_vain`: it was sent on once already from an upstream that did not answer it, and may
    be what keeps them busy.
    """

    attempts_left: bool
    repeatable: bool = False
    kept: bool = True
    answered: bool = False
    upgrade_refused: bool = False
    stale: bool = False
    dead: bool = False
    in_vain: bool = False

    @property
    def may_be_repeated(self) -> bool:
        """Whether sending it once more can do no harm."""
        return self.repeatable and self.kept and not self.answered and not self.upgrade_refused


def next_step(cause: Failure | int, sent: Sent, rules: RetryRules, room: Room, has_budget: bool) -> Step:
    """After the failure of an attempt, or an answer with this status.

    | cause | goes again if | |
    |---|---|---|
    | a stale connection | it may be repeated | FRESH, costs no budget |
    | a failure before a response (UNREAD) | it may be repeated | |
    | no response in time (DEAD) | the same, and the upstream is dead | not a second time in vain |
    | an answer among `rules.statuses` | it may be repeated | never waits: the client gets the answer |
    | anything else | never | |

    A failed dial is not asked about: nothing was sent, so `connecting` goes on while attempts are left, at no
    cost to the budget (UNSENT).
    """
    if not sent.attempts_left:
        return Step.GIVE_UP
    if isinstance(cause, Failure):
        if cause.retry in (RetrySafety.NEVER, RetrySafety.UNSENT):
            return Step.GIVE_UP
        if cause.retry is RetrySafety.DEAD and (sent.in_vain or not sent.dead):
            return Step.GIVE_UP
    elif cause not in rules.statuses or room is not Room.FREE:
        return Step.GIVE_UP
    if not sent.may_be_repeated:
        return Step.GIVE_UP
    if sent.stale:
        return Step.FRESH
    step = _BY_ROOM[room]
    return step if has_budget or step is Step.GIVE_UP else Step.OVER_BUDGET


_BY_ROOM = {Room.FREE: Step.ANOTHER, Room.FULL: Step.WAIT, Room.NONE: Step.GIVE_UP}


def is_found_dead(upstream: Upstream, sent_ns: int, now_ns: int, checked_within_ns: int) -> bool:
    """Whether `upstream`, which has not answered what was sent to it at `sent_ns`, is known to be dead, or
    nothing else is known of it.

    | | |
    |---|---|
    | it has answered another request in the second half of the time | no |
    | it is known to be silent, or an outlier | yes |
    | it has answered no request for so long that checks would have found it silent: it answers them | no |
    | the same, and there are no checks, or they need more time than that | yes |

    One that answers its checks, if only with errors, is alive, and so may its slow pages be. Checks take up
    to `checked_within_ns` to eject an upstream that answers nothing, 0 where there are none. What it answered
    in the first half may have been its last: so it is for what it had in work when it died.
    """
    silent_ns = now_ns - max(upstream.answered_ns, sent_ns)
    if 2 * silent_ns < now_ns - sent_ns:
        return False
    if upstream.silent_since_ns or upstream.is_outlier():
        return True
    return not checked_within_ns or silent_ns < checked_within_ns
