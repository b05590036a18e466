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

    max_idle: Count = Field(default=64, ge=0, description="Idle connections kept open; 0 keeps none.")
    idle_timeout: Duration = Field(
        default=4.0,
        description="Age at which an idle one is closed; keep it below the app's own. 0 = never.",
    )
    max_requests: Count = Field(default=0, ge=0, description="Requests a connection may serve. 0 = no cap.")
    max_lifetime: Duration = Field(default=0.0, description="Age at which one is used no more. 0 = no cap.")
    learn: bool = Field(
        default=True,
        description="Learn after what time an upstream closes idle connections, and use them for less.",
    )


class HealthCheckSettings(Group):
    """Active checks: the supervisor asks every upstream how it is, one GET per interval."""

    enabled: bool = Field(default=True, description="Check the upstreams; `false` counts all as healthy.")
    path: Annotated[str, AfterValidator(check_path)] = Field(
        default="/", description="What is asked for, with its query if it needs one."
    )
    interval: Duration = Field(
        default=2.0, ge=0.1, description="Between two checks of one upstream; spread by a tenth at random."
    )
    timeout: Duration = Field(
        default=1.0, ge=0.01, description="For the whole check, from connecting to the answer."
    )
    rise: Count = Field(
        default=2,
        ge=1,
        le=100,
        description="Checks passed in a row that readmit an ejected upstream; one if none has passed before.",
    )
    fall: Count = Field(
        default=2,
        ge=1,
        le=100,
        description="Checks failed in a row that eject an upstream; one if none has passed before.",
    )
    expect: StatusRanges = Field(
        default=((200, 399),), description="Statuses that pass: codes and ranges, `200-399` or `200,204`."
    )
    body: str = Field(default="", description="Text that the answer's first 64 KiB must contain.")
    port: Count = Field(default=0, ge=0, le=65535, description="Port to check; 0 = the upstream's own.")
    headers: Headers = Field(default={}, description='Header fields to send, `{"Host": "app.example"}`.')
    drain_status: Count = Field(
        default=0,
        description="A status by which an app says that it wants no new requests; best one that it uses for "
        "nothing else. 0 = none.",
    )

    @field_validator("expect")
    @classmethod
    def _can_be_answered(cls, expect: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if all(high < 200 for _, high in expect):
            raise ValueError("names no status that ends a check, as those below 200 do not; write 200-399")
        return expect

    @field_validator("drain_status")
    @classmethod
    def _is_a_status(cls, status: int, info: ValidationInfo) -> int:
        if status and not 200 <= status <= 599:
            raise ValueError("is not a status; write one from 200 to 599, or 0 for none")
        if status and info.data.get("expect") == ((status, status),):
            raise ValueError(
                "is the only status that passes: every upstream would be drained; let HEALTH_CHECK__EXPECT "
                "name the status of an upstream that is well"
            )
        return status


class OutlierSettings(Group):
    """Outlier detection: an upstream is ejected by how the requests to it end. Counts are per worker."""

    enabled: bool = Field(default=True, description="Eject upstreams by live traffic.")
    consecutive_5xx: Count = Field(
        default=5, ge=1, description="Responses with 5xx in a row that eject; 501 and 505 do not count."
    )
    consecutive_failures: Count = Field(
        default=3, ge=1, description="Attempts in a row without a valid response that eject."
    )
    ejection_time: Duration = Field(
        default=10.0,
        ge=0.1,
        description="How long the first time; twice that the second time in a row, and so on.",
    )
    max_ejection_time: Duration = Field(
        default=300.0,
        ge=0.1,
        validate_default=True,
        description="How long at most. Not less than EJECTION_TIME.",
    )
    max_ejection_percent: Count = Field(
        default=50,
        ge=1,
        le=100,
        description="Of a pool's upstreams, rounded down but at least one; never the last eligible one.",
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
    """A limit per upstream that finds itself: in force only where an upstream has a backlog."""

    enabled: bool = Field(
        default=True,
        description="Limit how many requests an upstream is given where it answers no more of them, only "
        "later; the others wait in the queue. `LIMITS__MAX_INFLIGHT` holds besides.",
    )
    min_limit: Count = Field(
        default=1,
        ge=1,
        le=10_000_000,
        description="An upstream is never given less than so many at once, by all workers together, and one "
        "by each.",
    )
    max_limit: Count = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        validate_default=True,
        description="A limit in force is never more, by all workers together. Not less than MIN_LIMIT.",
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
        default=3, ge=1, le=100, description="Tries per request, the first one included; 1 never retries."
    )
    statuses: Statuses = Field(
        default=(502, 503, 504),
        description="Answers of an upstream for which another one is asked; the last one's own answer is "
        "passed on. `[]` for none.",
    )
    methods: Methods = Field(
        default=IDEMPOTENT,
        description="Methods that may reach an app twice; the others go again only with proof that nobody "
        "has read them.",
    )
    budget_ratio: Number = Field(
        default=0.2,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Retries per request, over the last seconds. What could not be connected does not count, "
        "nor what had an idle connection closed under it.",
    )
    budget_min_per_second: Number = Field(
        default=10.0,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Retries a second that are allowed in any case, in each worker.",
    )
    replay_bytes: Size = Field(
        default=64 * 1024,
        le=64 << 20,
        description="Of a request's body, kept to send it again; 64M in all in each worker. A larger one "
        "goes once.",
    )
