"""Where retries are counted."""

from balancer.telemetry.columns import POOL_RETRIES, RETRY_REASONS

_COLUMNS = {reason: POOL_RETRIES + column for column, reason in enumerate(RETRY_REASONS)}


def retry_column(reason: str) -> int:
    """The column of a pool's row that counts retries for `reason`, one of RETRY_REASONS."""
    return _COLUMNS[reason]
