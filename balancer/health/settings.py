"""How long active checks may take (L5)."""

from balancer.spec.instance import CheckSpec

# A check has TIMEOUT of our own good time: what our event loop is late, by more than a beat, is added to it.
# But no more than this many times TIMEOUT in all.
MOST_TIMEOUTS = 2


def found_within(check: CheckSpec) -> float:
    """Seconds after which an upstream that answers nothing any more has been ejected, our own lateness
    included."""
    return check.fall * check.interval + MOST_TIMEOUTS * check.timeout
