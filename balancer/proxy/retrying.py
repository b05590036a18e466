"""Whether a request is sent to an upstream again, after a failed attempt or an error answer.

One pure function of what happened, what is known about the request, the rules, and what the pool has left.

A request is sent again only while no byte of a response has reached the client. An idempotent request (RFC
9110 section 9.2.2) may reach an app twice. Any other is sent again only with proof that no app has read it.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from balancer.errors import Failure, RetrySafety
from balancer.pools.pool import Room
from balancer.spec.worker import RetryRules
from balancer.upstreams.upstream import Upstream


class Step(Enum):
    """What happens next."""

    GIVE_UP = auto()  # the client gets the failure, or the answer
    OVER_BUDGET = auto()  # the same, but only because the retry budget is used up
    FRESH = auto()  # over a new connection, perhaps to the same upstream
    ANOTHER = auto()  # at an upstream not tried yet
    WAIT = auto()  # for a slot at one of these: all are full


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known about a request when its attempt has ended.

    `repeatable`: its method may be sent twice, or it is proven that no app has read it. `kept`: the replay
    buffer has all that was written of its body. `answered`: some part of a response has arrived.
    `upgrade_refused`: the app closed the connection on an upgrade, as an app without support for it does; all
    replicas would. `stale`: the connection was idle and was closed just as it was taken, which is no failure.
    `dead`: see `is_found_dead`. `in_vain`: another upstream has already failed to answer this request, so it
    may be what keeps them busy.
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
        """Whether it is safe to send it again."""
        return self.repeatable and self.kept and not self.answered and not self.upgrade_refused


def next_step(cause: Failure | int, sent: Sent, rules: RetryRules, room: Room, has_budget: bool) -> Step:
    """Decide after the failure of an attempt, or after an answer with this status.

    | cause | is sent again if | |
    |---|---|---|
    | a stale connection | it may be repeated | FRESH, costs no budget |
    | a failure before a response (UNREAD) | it may be repeated | |
    | no response in time (DEAD) | the same, and the upstream is dead | only once |
    | an answer among `rules.statuses` | it may be repeated | never queued: the client gets the answer |
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


def why_not_again(step: Step, cause: Failure | int, sent: Sent, rules: RetryRules) -> str:
    """Why `next_step` has decided so, for people; "" if the request goes again."""
    if step is Step.OVER_BUDGET:
        return "the retry budget of its pool is used up (RETRY__BUDGET_RATIO)"
    if step is not Step.GIVE_UP:
        return ""
    if isinstance(cause, int) and cause not in rules.statuses:
        return f"{cause} is not among RETRY__STATUSES"
    if not sent.attempts_left:
        return f"it had all its attempts (RETRY__MAX_ATTEMPTS is {rules.max_attempts})"
    if isinstance(cause, Failure) and cause.retry is RetrySafety.NEVER:
        return f"after {cause.reason} no request is sent again"
    if isinstance(cause, Failure) and cause.retry is RetrySafety.DEAD and sent.in_vain:
        return "another upstream had not answered it either"
    if isinstance(cause, Failure) and cause.retry is RetrySafety.DEAD and not sent.dead:
        return "its upstream lives, and may still work on it"
    if sent.answered:
        return "a part of a response had arrived"
    if not sent.repeatable:
        return "an app may have read it, and its method may not be sent twice (RETRY__METHODS)"
    if not sent.kept:
        return "its body was too long to be kept (RETRY__REPLAY_BYTES)"
    if sent.upgrade_refused:
        return "the app closed the connection on an upgrade"
    return "no other upstream was left, or had room"


_BY_ROOM: Final = {Room.FREE: Step.ANOTHER, Room.FULL: Step.WAIT, Room.NONE: Step.GIVE_UP}


def is_found_dead(upstream: Upstream, sent_ns: int, now_ns: int, checked_within_ns: int) -> bool:
    """Whether `upstream`, which has not answered a request sent at `sent_ns`, is dead as far as is known.

    | the first row that is true | dead |
    |---|---|
    | it has answered another request in the second half of the wait | no |
    | it is known to be silent, or is an outlier | yes |
    | it has answered no request, but checks have had time to find it silent, and did not | no |
    | there are no checks, or they have not had enough time | yes |

    An upstream that answers its checks, even with errors, is alive, and so may its slow pages be. Checks take
    up to `checked_within_ns` to eject a silent upstream; 0 if there are no checks. Answers in the first half
    of the wait do not count: they may be from just before it died.
    """
    silent_ns = now_ns - max(upstream.answered_ns, sent_ns)
    if 2 * silent_ns < now_ns - sent_ns:
        return False
    if upstream.silent_since_ns or upstream.is_outlier():
        return True
    return not checked_within_ns or silent_ns < checked_within_ns
