"""How one check can end (L5): the closed list behind `active_checks_total{result}`, and the record of it."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """How one check ended; the value is the metric label.

    Three count neither as passed nor as failed, because they say nothing about the upstream:
    `SLOW`: no answer in time, but live requests on that upstream succeeded meanwhile: slow is not dead.
    `LATE`: no answer in time, but our own event loop was late for too much of it to tell.
    `NOT_MADE`: no check was made: no file descriptor or memory left here, or a bug of ours.
    """

    PASSED = "passed"
    STATUS = "status"  # a status outside EXPECT
    BODY = "body"  # the text of BODY is not in the response
    TIMEOUT = "timeout"  # no whole response in time, the time to connect included
    REFUSED = "refused"  # nothing listens there
    UNREACHABLE = "unreachable"  # no way there: no route, network down, the kernel gave up connecting
    CLOSED = "closed"  # closed or reset before the whole response was here
    MALFORMED = "malformed"  # what came is not an HTTP/1.1 response
    TOO_MUCH = "too_much"  # more than a check reads, and no response among it
    LOOP = "loop"  # it came back to this very balancer
    SLOW = "slow"
    LATE = "late"
    NOT_MADE = "not_made"

    @property
    def counts(self) -> bool:
        """Whether it counts towards RISE or FALL."""
        return self not in _FOR_NOTHING


_FOR_NOTHING = frozenset((Result.SLOW, Result.LATE, Result.NOT_MADE))
# What a late event loop can cause: too little of the time given was the upstream's.
TIME_PLAYED_A_PART = frozenset((Result.TIMEOUT, Result.CLOSED))


# Nothing there speaks HTTP, or nothing is there.
NO_ANSWER = frozenset((Result.TIMEOUT, Result.REFUSED, Result.UNREACHABLE, Result.CLOSED))


@dataclass(frozen=True, slots=True)
class Reply:
    """What one check brought; `status` is 0 where no response came, `detail` says in words what happened."""

    result: Result
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The last check of an upstream, for people: `time` is when it ended (seconds since the epoch).

    `hint` is one sentence with what happened and what to do about it, "" when it passed.
    """

    time: float
    passed: bool
    result: Result
    status: int
    seconds: float
    detail: str
    hint: str
