"""When certificates are ordered (L7): pure functions of what is known of a domain, and of the time.

    lifetime of a certificate     |-------------------------------|--jitter--|-----------------|
                              not_before                        2/3                        not_after
                                                                  ordered in here

After a failure it waits: the longer, the more there were in a row. That is kept in the storage, so a process
that is restarted over and over asks no authority more often than one that runs.
"""

from balancer.acme.kinds import KINDS
from balancer.acme.problem import Cause
from balancer.runtime.acme_parts import Failed, Ordered, State
from balancer.spec.part import replaced
from balancer.spec.tls import CertificateSpec

RENEWED_AT = 2 / 3  # of the lifetime
JITTER = 1 / 30  # of the lifetime: three days of ninety

# Seconds until the next order: after the first failure, and at most. An authority that does not answer is
# asked again soon; what it refuses counts against its limits (Let's Encrypt: 5 failures per host and hour).
_SOON, _SOON_MOST = 30.0, 3600.0
_REFUSED, _REFUSED_MOST = 600.0, 12 * 3600.0
OTHER_KIND = 2.0  # if the other kind of challenge has not been tried yet
UNFINISHED = 600.0  # if the process ends while it orders
REST, REST_MOST = 1 / 4, 3600.0  # after a success: of the new certificate's lifetime, and at most
STOPPED = 30.0  # if it is told to
LONGEST = 7 * 86400.0  # whatever the authority says
# How far clocks of instances may be apart. What was written later than that was written by a wrong clock.
AHEAD = 3600.0


def renewal(certificate: CertificateSpec, jitter: float) -> float:
    """When to order the next one, in seconds since the epoch; `jitter` is from 0 to 1."""
    lifetime = certificate.not_after - certificate.not_before
    return certificate.not_before + lifetime * (RENEWED_AT + JITTER * jitter)


def due(certificate: CertificateSpec | None, state: State, jitter: float, now: float) -> float:
    """When to order, in seconds since the epoch; `certificate` is None if there is none yet."""
    wanted = now if certificate is None else renewal(certificate, jitter)
    return wanted if state.at > now + AHEAD else max(wanted, state.not_before)


def kind(state: State) -> str:
    """The kind of challenge to answer."""
    return state.challenge if state.challenge in KINDS else KINDS[0]


def begun(state: State, now: float) -> State:
    """An order begins: what is kept in case that its end is never seen."""
    why = "the last order was not finished: the process has ended in it"
    return replaced(state, not_before=now + UNFINISHED, error=why, at=now)


def stopped(before: State, now: float) -> State:
    """The process is told to end while it orders."""
    return replaced(before, not_before=now + STOPPED, at=now)


def succeeded(what: Ordered, before: State, now: float) -> State:
    """There is a certificate. The next order waits a while in any case: where the clock is wrong, a new
    certificate may seem to be due for renewal, or to have expired."""
    rest = min((what.not_after - what.not_before) * REST, REST_MOST)
    return State(challenge=what.challenge or before.challenge, not_before=now + rest, at=now)


def failed(before: State, what: Failed, jitter: float, now: float) -> State:
    """There is none; `before` is the state before the order began, `jitter` is from 0 to 1."""
    is_away = what.cause is Cause.UNREACHABLE
    same = before.failures > 0 and is_away == (before.cause == Cause.UNREACHABLE)
    failures = before.failures + 1 if same else 1
    challenge = before.challenge
    first, most = (_SOON, _SOON_MOST) if is_away else (_REFUSED, _REFUSED_MOST)
    wait = min(first * 2 ** min(failures - 1, 30), most) * (1 + jitter / 4)
    if what.cause is Cause.CHALLENGE:
        tried = kind(before)
        challenge = next(each for each in KINDS if each != tried)
        # Once with the other kind at once; then both take turns.
        if failures == 1:
            wait = OTHER_KIND
    if what.cause is Cause.LIMITED:
        wait = max(wait, _SOON_MOST)
    wait = min(max(wait, what.retry_after), LONGEST)
    return State(
        failures=failures,
        cause=what.cause,
        not_before=now + wait,
        challenge=challenge,
        error=what.why,
        at=now,
    )
