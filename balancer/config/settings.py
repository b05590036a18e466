"""The settings (L1): one tree of frozen models, with every default, bound and meaning.

A `Settings` object is built from what it is given and reads nothing by itself; `loader` brings environment
and file together. Models end at the supervisor's composition root: the rest is given plain values, which
are in seconds and bytes here already. The field descriptions are the settings table of the docs.
"""

from difflib import get_close_matches
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from balancer.config.address import Address, parse_listen
from balancer.config.cpus import usable_cpus
from balancer.config.types import (
    CommaList,
    Count,
    Duration,
    Headers,
    JsonObject,
    Size,
    StatusRanges,
    Switch,
    check_hash_key,
    check_path,
    format_size,
)
from balancer.config.upstream_spec import Spec, parse_upstream, refuse_duplicates

# The fields of an access-log record. Telemetry, which writes them, is a layer above: a test compares.
ACCESS_LOG_FIELDS = (
    "time", "client", "method", "target", "protocol", "host", "status", "reason", "route", "pool", "upstream",
    "attempts", "reused", "request_bytes", "response_bytes", "duration", "first_byte", "request_id",
    "user_agent", "referer",
)  # fmt: skip


def _parse_workers(value: object) -> object:
    return usable_cpus() if isinstance(value, str) and value.strip().lower() == "auto" else value


def _parse_network(value: object) -> str:
    """A network in its canonical form; a single address is a network of one."""
    try:
        return str(ip_network(value.strip() if isinstance(value, str) else ""))
    except ValueError:
        pass
    try:
        widened = ip_network(str(value).strip(), strict=False)
    except ValueError:
        raise ValueError("is not a network; write 10.0.0.0/8, 192.168.1.7 or fd00::/8") from None
    raise ValueError(f"has bits set beyond its prefix; write {widened}")


def _check_log_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    for field in fields:
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


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


ListenAddress = Annotated[Address, BeforeValidator(parse_listen), PlainSerializer(str, when_used="json")]
Upstream = Annotated[Spec, BeforeValidator(parse_upstream), PlainSerializer(str, when_used="json")]
Network = Annotated[str, BeforeValidator(_parse_network)]
LogFields = Annotated[
    tuple[str, ...],
    AfterValidator(_check_log_fields),
    BeforeValidator(_parse_log_fields),
    CommaList,
    PlainSerializer(_show_log_fields, when_used="json"),
]


class MisfitError(ValueError):
    """A group's setting `name` that does not go with a setting outside the group."""

    def __init__(self, name: str, value: object, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.value = value


class Group(BaseModel):
    """Settings that share a prefix; unknown names in it are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeepaliveSettings(Group):
    """Idle connections kept open to an upstream, counted per upstream and worker."""

    max_idle: Count = Field(default=64, ge=0, description="Idle connections kept open; 0 keeps none.")
    idle_timeout: Duration = Field(
        default=4.0,
        description="Age at which an idle one is closed; keep it below the app's own. 0 = never.",
    )
    max_requests: Count = Field(default=0, ge=0, description="Requests a connection may serve. 0 = no cap.")
    max_lifetime: Duration = Field(default=0.0, description="Age at which one is used no more. 0 = no cap.")


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
        default=2, ge=1, le=100, description="Checks passed in a row that readmit an ejected upstream."
    )
    fall: Count = Field(default=2, ge=1, le=100, description="Checks failed in a row that eject an upstream.")
    expect: StatusRanges = Field(
        default=((200, 399),), description="Statuses that pass: codes and ranges, `200-399` or `200,204`."
    )
    body: str = Field(default="", description="Text that the answer's first 64 KiB must contain.")
    port: Count = Field(default=0, ge=0, le=65535, description="Port to check; 0 = the upstream's own.")
    headers: Headers = Field(default={}, description='Header fields to send, `{"Host": "app.example"}`.')
    drain_status: Count = Field(
        default=0,
        description="A status by which an app says that it wants no new requests, such as 503. 0 = none.",
    )

    @field_validator("drain_status")
    @classmethod
    def _is_a_status(cls, status: int) -> int:
        if status and not 200 <= status <= 599:
            raise ValueError("is not a status; write one from 200 to 599, or 0 for none")
        return status


class RetrySettings(Group):
    """When a request is sent again, to another upstream."""

    max_attempts: Count = Field(
        default=3, ge=1, le=100, description="Tries per request, the first one included; 1 never retries."
    )


class TimeoutSettings(Group):
    """Deadlines; 0 turns one off."""

    connect: Duration = Field(default=1.0, description="To open a connection to an upstream.")
    first_byte: Duration = Field(
        default=30.0,
        description="From the request's start, or its body's last byte, to the response head, dials and "
        "retries included.",
    )
    idle: Duration = Field(default=60.0, description="Between two pieces of a body, in either direction.")
    total: Duration = Field(default=0.0, description="For the whole exchange, from head to last byte.")
    request_head: Duration = Field(default=10.0, description="For a client to send a complete request head.")
    client_idle: Duration = Field(
        default=60.0, description="A client connection's wait for its next request."
    )
    tunnel_idle: Duration = Field(default=3600.0, description="Silence both ways that closes a tunnel.")
    drain: Duration = Field(
        default=25.0, description="After TERM, how long running exchanges may take to end."
    )
    drain_delay: Duration = Field(
        default=0.0, description="After TERM, how long to go on accepting while `/readyz` already fails."
    )


class LimitSettings(Group):
    """What a client may send, and how many may come."""

    max_connections: Count = Field(
        default=20000,
        ge=1,
        le=10_000_000,
        description="Open client connections, shared out among the workers; more are refused with 503.",
    )
    header_bytes: Size = Field(
        default=32 * 1024, ge=256, description="Size of a head; more is 431, in a response 502."
    )
    header_count: Count = Field(
        default=100, ge=1, description="Header lines in a head; more is 431, in a response 502."
    )
    uri_bytes: Size = Field(
        default=8 * 1024,
        ge=64,
        validate_default=True,
        description="Length of a request target; more is 414. Less than HEADER_BYTES.",
    )
    body_bytes: Size = Field(default=0, description="Size of a request body; more is 413. 0 = no cap.")

    @field_validator("uri_bytes")
    @classmethod
    def _target_fits_the_head(cls, uri_bytes: int, info: ValidationInfo) -> int:
        header_bytes = info.data.get("header_bytes")
        if header_bytes is not None and uri_bytes >= header_bytes:
            raise ValueError(
                f"is not below LIMITS__HEADER_BYTES ({format_size(header_bytes)}): a longer target would be "
                "a head too large, never a 414; lower it, or raise LIMITS__HEADER_BYTES"
            )
        return uri_bytes


class AccessLogSettings(Group):
    """One JSON line per request on stdout."""

    enabled: bool = Field(default=True, description="Write one JSON line per request to stdout.")
    fields: LogFields = Field(
        default=ACCESS_LOG_FIELDS, description="Which fields, in this order: a list, or `all`."
    )
    sample: float = Field(
        default=1.0, ge=0, le=1, allow_inf_nan=False, description="Share of requests logged, from 0 to 1."
    )


class Settings(BaseSettings):
    """Everything the operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="BALANCER_",
        env_nested_delimiter="__",
        case_sensitive=True,  # keys of a file are lower case; variables are checked before they come here
        enable_decoding=False,  # our types read lists and JSON themselves, from the file as well
        extra="forbid",
        frozen=True,
    )

    config: str | None = Field(
        default=None, description="A YAML file with the same tree; the environment wins over it."
    )
    listen: ListenAddress = Field(
        default=Address("0.0.0.0", 8080),
        description="Where clients connect: `host:port`; port 0 takes any free one.",
    )
    admin_listen: ListenAddress = Field(
        default=Address("127.0.0.1", 9901),
        validate_default=True,
        description="Where `/healthz`, `/readyz` and `/metrics` are served.",
    )
    workers: Annotated[Count, BeforeValidator(_parse_workers)] = Field(
        default=1,
        ge=1,
        le=256,
        description="Worker processes; `auto` = the CPUs this container may use.",
    )
    upstreams: Annotated[tuple[Upstream, ...], AfterValidator(refuse_duplicates), CommaList] = Field(
        description="The app replicas: `app1:8000,10.0.0.2:8000?weight=3,http://app3:8000,[::1]:8000`, or "
        "one per address of a name: `dns://app:8000?refresh=2s`."
    )
    policy: str = Field(
        default="least_connections",
        min_length=1,
        description="Which upstream gets a request: one of `balancer policies`, or `module:attribute`.",
    )
    policy_options: JsonObject = Field(default={}, description="The policy's own options, a JSON object.")
    hash_key: Annotated[str, AfterValidator(check_hash_key)] = Field(
        default="client_ip",
        description="What policies that hash go by: `client_ip`, `header:NAME`, `cookie:NAME`, "
        "`query:NAME` or `path`.",
    )
    panic: Switch = Field(
        default=True,
        description="`on`: when no upstream is eligible, the ejected ones are used rather than none.",
    )
    health_check: HealthCheckSettings = HealthCheckSettings()
    keepalive: KeepaliveSettings = KeepaliveSettings()
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    trusted_proxies: Annotated[tuple[Network, ...], CommaList] = Field(
        default=(), description="Networks (CIDR) whose `X-Forwarded-*` and `Forwarded` headers are believed."
    )
    access_log: AccessLogSettings = AccessLogSettings()
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="What the balancer says on stderr: `debug`, `info`, `warning` or `error`."
    )

    @field_validator("admin_listen")
    @classmethod
    def _listeners_differ(cls, admin: Address, info: ValidationInfo) -> Address:
        listen = info.data.get("listen")
        if isinstance(listen, Address) and admin.clashes_with(listen):
            raise ValueError(f"takes the port that LISTEN ({listen}) has; give one of them another port")
        return admin

    @field_validator("limits")
    @classmethod
    def _every_worker_has_a_share(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        workers = info.data.get("workers")
        if workers is not None and limits.max_connections < workers:
            raise MisfitError(
                "max_connections",
                limits.max_connections,
                f"is less than one for each of the {workers} workers; raise it, or lower WORKERS",
            )
        return limits

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given: `loader` reads the sources, so that it can name them."""
        return (init_settings,)
