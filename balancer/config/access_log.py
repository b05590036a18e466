"""The settings `ACCESS_LOG__` (L1): what is logged of each request."""

from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from balancer.config.group import Group
from balancer.config.types import CommaList, Number, lower

# The fields of an access-log record. Telemetry, a layer above, writes them: a test compares both lists.
ACCESS_LOG_FIELDS = (
    "time", "client", "method", "target", "protocol", "scheme", "host", "status", "reason", "route", "pool",
    "upstream", "tried", "attempts", "reused", "request_bytes", "response_bytes", "duration", "first_byte",
    "request_id", "user_agent", "referer", "queue", "connect", "failures", "sticky", "side", "tls",
    "trace_id", "source",
)  # fmt: skip


def _check_log_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    for field in fields:
        if field == "all":
            raise ValueError("combines all with field names; write all alone, or only the names")
        if not set(field.split()) - set(ACCESS_LOG_FIELDS) and " " in field:
            raise ValueError(f"has no commas between its fields; write {','.join(field.split())}")
        if field not in ACCESS_LOG_FIELDS:
            close = get_close_matches(field, ACCESS_LOG_FIELDS, 1)
            remedy = (
                f"did you mean {close[0]}?" if close else f"the fields are {', '.join(ACCESS_LOG_FIELDS)}"
            )
            raise ValueError(f"names an unknown field ({field}); {remedy}")
    if not fields:
        raise ValueError("names no field; write all, or turn the log off with ACCESS_LOG__ENABLED=false")
    if len(set(fields)) < len(fields):
        raise ValueError("names a field twice")
    return fields


def _parse_log_fields(value: object) -> object:
    return ACCESS_LOG_FIELDS if value == ["all"] else value


def _show_log_fields(fields: tuple[str, ...]) -> list[str]:
    return ["all"] if fields == ACCESS_LOG_FIELDS else list(fields)


LogFields = Annotated[
    tuple[str, ...],
    AfterValidator(_check_log_fields),
    BeforeValidator(_parse_log_fields),
    CommaList,
    PlainSerializer(_show_log_fields, when_used="json"),
]


class AccessLogSettings(Group):
    """One line per request on stdout."""

    enabled: bool = Field(default=True, description="Write one line per request to stdout.")
    format: Annotated[Literal["json", "logfmt", "combined"], BeforeValidator(lower)] = Field(
        default="json",
        description="`json`, `logfmt`, or `combined`, the format of Apache and nginx with its nine fields.",
    )
    fields: LogFields = Field(
        default=ACCESS_LOG_FIELDS, description="Fields of a line, in this order: a list, or `all`."
    )
    sample: Number = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of requests logged, from 0 to 1. Those that got 5xx, that broke off, that were "
        "sent again, or whose client left before the response are always logged.",
    )
