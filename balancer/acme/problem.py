"""Why an authority did not issue a certificate (L0)."""

from enum import StrEnum


class Cause(StrEnum):
    """What kind of failure it is, which decides when to try again."""

    UNREACHABLE = "unreachable"  # the authority does not answer, or not as it should: it may soon
    REFUSED = "refused"  # it has looked, and says no
    CHALLENGE = "challenge"  # it did not find what it looked for: another kind of challenge may work
    LIMITED = "limited"  # too many requests: not before `retry_after`


class OrderError(Exception):
    """One sentence, with the authority's own words if it has said something. `retry_after` is in seconds, 0
    if it did not say when."""

    def __init__(self, cause: Cause, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.cause = cause
        self.retry_after = retry_after
