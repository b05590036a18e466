"""How one check can end (L5): the closed list behind `active_checks_total{result}`, and the record of it."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """How one check ended; the value is the metric label.

    Three results count neither as passed nor as failed, because they prove nothing about the upstream:
    `SLOW`: no answer in time, but live requests at that upstream succeeded meanwhile: slow is not dead.
    `LATE`: no answer in time, but our own event loop was late for too much of that time.
    `NOT_MADE`: no check was made: no file descriptor or memory left here, or a bug of ours.
    """

    PASSED = "passed"
    STATUS = "status"  # a status outside EXPECT
    BODY = "body"  # the text of BODY is not in the response
    TIMEOUT = "timeout"  # no whole response in time, the time to connect included
    REFUSED = "refused"  # nothing listens there
    TLS = "tls"  # it accepts connections, but not by TLS, or its certificate is refused
    UNREACHABLE = "unreachable"  # no route, network down, or the kernel gave up connecting
    CLOSED = "closed"  # closed or reset before the whole response had arrived
    MALFORMED = "malformed"  # the data received is not an HTTP/1.1 response
    TOO_MUCH = "too_much"  # more data than a check reads, without a response
    LOOP = "loop"  # the check came back to this balancer
    SLOW = "slow"
    LATE = "late"
    NOT_MADE = "not_made"

    @property
    def counts(self) -> bool:
        """Whether it counts towards RISE or FALL."""
        return self not in _FOR_NOTHING


_FOR_NOTHING = frozenset((Result.SLOW, Result.LATE, Result.NOT_MADE))
# Results that a late event loop can cause: the upstream had too little of the time given.
TIME_PLAYED_A_PART = frozenset((Result.TIMEOUT, Result.CLOSED))


# Nothing at the address answered, or not the upstream.
NO_ANSWER = frozenset((Result.TIMEOUT, Result.REFUSED, Result.UNREACHABLE, Result.CLOSED, Result.TLS))


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one check; `status` is 0 without a response, `detail` is for people. `error` is the
    kernel's error number if the upstream is UNREACHABLE, the `TlsFault` if it is TLS, else 0."""

    result: Result
    status: int
    detail: str
    error: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The last check of an upstream, for people: `time` is when it ended (seconds since the epoch).

    `hint` is one sentence: what happened and what to do about it, "" if it passed.
    """

    time: float
    passed: bool
    result: Result
    status: int
    seconds: float
    detail: str
    hint: str
