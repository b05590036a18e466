"""Groups of a pool's settings (L1): one frozen model per group, with every default, bound and meaning."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from balancer.config.group import Group
from balancer.config.types import (
    IDEMPOTENT,
    Count,
    Duration,
    Headers,
    Methods,
    Number,
    Size,
    Statuses,
    StatusRanges,
    check_path,
)


class KeepaliveSettings(Group):
    """Idle connections kept open to an upstream, counted per upstream and worker."""

    max_idle: Count = Field(
        default=64, ge=0, description="Idle connections kept open, per upstream and worker; 0 keeps none."
    )
    idle_timeout: Duration = Field(
        default=4.0,
        description="Idle time after which a connection is closed; keep it below the app's own. 0 = never.",
    )
    max_requests: Count = Field(default=0, ge=0, description="Requests a connection may serve. 0 = no cap.")
    max_lifetime: Duration = Field(
        default=0.0, description="Age at which a connection is no longer used. 0 = no cap."
    )
    learn: bool = Field(
        default=True,
        description="Learn after how long an upstream closes idle connections, and use them for less "
        "than that.",
    )


class HealthCheckSettings(Group):
    """Active checks: the supervisor sends every upstream one GET per interval."""

    enabled: bool = Field(default=True, description="Check the upstreams; `false` treats all as healthy.")
    path: Annotated[str, AfterValidator(check_path)] = Field(
        default="/", description="Path to request, with its query if it needs one."
    )
    interval: Duration = Field(
        default=2.0,
        ge=0.1,
        description="Time between two checks of one upstream; varied at random by a tenth.",
    )
    timeout: Duration = Field(
        default=1.0, ge=0.01, description="Time for the whole check, from connecting to the answer."
    )
    rise: Count = Field(
        default=2,
        ge=1,
        le=100,
        description="Checks in a row that must pass to readmit an ejected upstream; one if none has "
        "passed before.",
    )
    fall: Count = Field(
        default=2,
        ge=1,
        le=100,
        description="Checks in a row that must fail to eject an upstream; one if none has passed before.",
    )
    expect: StatusRanges = Field(
        default=((200, 399),), description="Statuses that pass: codes and ranges, `200-399` or `200,204`."
    )
    body: str = Field(default="", description="Text that the first 64 KiB of the response body must contain.")
    port: Count = Field(default=0, ge=0, le=65535, description="Port to check; 0 = the upstream's own.")
    headers: Headers = Field(default={}, description='Header fields to send, `{"Host": "app.example"}`.')
    drain_status: Count = Field(
        default=0,
        description="Status by which an app asks for no new requests; use one that has no other meaning. "
        "0 = none.",
    )

    @field_validator("expect")
    @classmethod
    def _can_be_answered(cls, expect: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if all(high < 200 for _, high in expect):
            raise ValueError("names only statuses below 200, which never end a check; write 200-399")
        return expect

    @field_validator("drain_status")
    @classmethod
    def _is_a_status(cls, status: int, info: ValidationInfo) -> int:
        if status and not 200 <= status <= 599:
            raise ValueError("is not a status; write one from 200 to 599, or 0 for none")
        if status and info.data.get("expect") == ((status, status),):
            raise ValueError(
                "is the only status that passes: every upstream would be drained; let "
                "HEALTH_CHECK__EXPECT name the status of a healthy upstream"
            )
        return status


class OutlierSettings(Group):
    """Outlier detection: ejects an upstream by the outcome of its requests. Counts are per worker."""

    enabled: bool = Field(default=True, description="Eject upstreams that fail live traffic.")
    consecutive_5xx: Count = Field(
        default=5,
        ge=1,
        description="5xx responses in a row that eject an upstream; 501 and 505 do not count.",
    )
    consecutive_failures: Count = Field(
        default=3, ge=1, description="Attempts in a row without a valid response that eject an upstream."
    )
    ejection_time: Duration = Field(
        default=10.0,
        ge=0.1,
        description="Length of the first ejection; the second in a row lasts twice as long, the third "
        "three times, and so on.",
    )
    max_ejection_time: Duration = Field(
        default=300.0,
        ge=0.1,
        validate_default=True,
        description="Longest ejection. Not less than EJECTION_TIME.",
    )
    max_ejection_percent: Count = Field(
        default=50,
        ge=1,
        le=100,
        description="Share of a pool's upstreams that may be ejected, rounded down but at least one; "
        "never the last eligible one.",
    )

    @field_validator("max_ejection_time")
    @classmethod
    def _is_no_shorter(cls, most: float, info: ValidationInfo) -> float:
        first = info.data.get("ejection_time")
        if first is not None and most < first:
            raise ValueError(
                f"is below OUTLIER__EJECTION_TIME ({first:g} s): the first ejection would be the longest; "
                "raise it, or lower OUTLIER__EJECTION_TIME"
            )
        return most


class AdaptiveSettings(Group):
    """A concurrency limit per upstream, found by the balancer: in force only while it has a backlog."""

    enabled: bool = Field(
        default=True,
        description="When requests queue inside an upstream, find a concurrency limit for it; further "
        "requests wait in the balancer's queue. `LIMITS__MAX_INFLIGHT` applies as well.",
    )
    min_limit: Count = Field(
        default=1,
        ge=1,
        le=10_000_000,
        description="Lower bound of an upstream's limit, across all workers; each worker may always send "
        "it one request.",
    )
    max_limit: Count = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        validate_default=True,
        description="Upper bound of an upstream's limit, across all workers. Not less than MIN_LIMIT.",
    )

    @field_validator("max_limit")
    @classmethod
    def _is_no_less(cls, most: int, info: ValidationInfo) -> int:
        least = info.data.get("min_limit")
        if least is not None and most < least:
            raise ValueError(
                f"is below ADAPTIVE__MIN_LIMIT ({least}); raise it, or lower ADAPTIVE__MIN_LIMIT"
            )
        return most


class RetrySettings(Group):
    """When a request is sent again, to another upstream."""

    max_attempts: Count = Field(
        default=3, ge=1, le=100, description="Attempts per request, including the first; 1 = no retries."
    )
    statuses: Statuses = Field(
        default=(502, 503, 504),
        description="Response statuses for which another upstream is tried; the last upstream's own "
        "response is passed on. `[]` = none.",
    )
    methods: Methods = Field(
        default=IDEMPOTENT,
        description="Methods that may reach an app twice; others are sent again only with proof that no "
        "app has read them.",
    )
    budget_ratio: Number = Field(
        default=0.2,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Retries per request over the last seconds. Failed connects do not count, nor "
        "requests whose idle connection was closed under them.",
    )
    budget_min_per_second: Number = Field(
        default=10.0,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Retries per second that are always allowed, in each worker.",
    )
    replay_bytes: Size = Field(
        default=64 * 1024,
        le=64 << 20,
        description="Bytes of a request body kept to send it again, 64M in all per worker. A larger body "
        "is sent once.",
    )
