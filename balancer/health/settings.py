"""How long active checks may take (L5)."""

from balancer.spec.instance import CheckSpec

# If our event loop is late by more than a beat, that time is added to a check's TIMEOUT, up to this many
# times TIMEOUT in all.
MOST_TIMEOUTS = 2


def found_within(check: CheckSpec) -> float:
    """Seconds within which checks eject an upstream that has stopped answering, our own lateness included."""
    return check.fall * check.interval + MOST_TIMEOUTS * check.timeout


def within_ns(check: CheckSpec | None) -> int:
    """The same in nanoseconds, 0 without checks."""
    return 0 if check is None else round(found_within(check) * 1e9)
