"""The settings (L1): one tree of frozen models, with every default, bound and meaning.

A `Settings` object is built from what it is given and reads nothing by itself; `loader` brings environment
and file together. Models end at the supervisor's composition root: the rest is given plain values, which
are in seconds and bytes here already. The field descriptions are the settings table of the docs.
"""

from functools import partial
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from balancer.config.access_log import AccessLogSettings
from balancer.config.address import Address, parse_host_name, parse_listen
from balancer.config.cpus import usable_cpus
from balancer.config.forwarded import ForwardedSettings
from balancer.config.groups import (
    AdaptiveSettings,
    HealthCheckSettings,
    KeepaliveSettings,
    LimitSettings,
    MisfitError,
    OutlierSettings,
    RetrySettings,
    TimeoutSettings,
)
from balancer.config.sticky import StickySettings
from balancer.config.types import (
    MASK,
    CommaList,
    Count,
    Duration,
    JsonObject,
    Switch,
    check_hash_key,
)
from balancer.config.upstream_spec import Spec, parse_upstream, refuse_duplicates


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


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if text == MASK:
        raise ValueError("is the mask that is shown in place of a secret; write the secret itself")
    if not all("!" <= each <= "~" for each in text):
        raise ValueError("has characters that a header cannot carry; write visible ASCII, without spaces")
    return token


# Rows of the stats segment, which is a layer above: a test compares. Each worker, the listener, the pool and
# the route have one, and each upstream.
MOST_ENTITIES = 4096
OTHER_ENTITIES = 3

HostName = Annotated[str, AfterValidator(parse_host_name)]
ListenAddress = Annotated[Address, BeforeValidator(parse_listen), PlainSerializer(str, when_used="json")]
AdminAddress = Annotated[
    Address,
    BeforeValidator(partial(parse_listen, example="127.0.0.1:9901")),
    PlainSerializer(str, when_used="json"),
]
Upstream = Annotated[Spec, BeforeValidator(parse_upstream), PlainSerializer(str, when_used="json")]
Network = Annotated[str, BeforeValidator(_parse_network)]


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
    admin_listen: AdminAddress = Field(
        default=Address("127.0.0.1", 9901),
        validate_default=True,
        description="Where `/healthz`, `/readyz`, `/metrics` and the admin API are served.",
    )
    admin_token: Annotated[SecretStr, AfterValidator(_check_token)] = Field(
        default=SecretStr(""),
        description="What changes by the admin API need; without one only programs on this machine may make "
        "them.",
    )
    admin_token_file: str = Field(
        default="", description="A file that holds what ADMIN_TOKEN would, read at the start."
    )
    admin_hosts: Annotated[tuple[HostName, ...], CommaList] = Field(
        default=(),
        description="Names by which the admin listener may be asked besides loopback ones, such as "
        "`lb.example`. If unset, a listener on loopback answers for loopback names alone, and any other for "
        "all.",
    )
    workers: Annotated[Count, BeforeValidator(_parse_workers)] = Field(
        default=1,
        ge=1,
        le=256,
        description="Worker processes; `auto` = the CPUs this container may use.",
    )
    upstreams: Annotated[tuple[Upstream, ...], AfterValidator(refuse_duplicates), CommaList] = Field(
        description="The app replicas: `app1:8000,10.0.0.2:8000?weight=3,http://app3:8000,[::1]:8000`, or "
        "one per address of a name: `dns://app:8000?refresh=2s`. `?backup=true`: used only where no other is "
        "eligible, and for what has failed at all others."
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
    slow_start: Duration = Field(
        default=0.0,
        description="Time in which an upstream that has come back, or was added, gets from a tenth of its "
        "weight to all of it. 0 = at once.",
    )
    health_check: HealthCheckSettings = HealthCheckSettings()
    outlier: OutlierSettings = OutlierSettings()
    adaptive: AdaptiveSettings = AdaptiveSettings()
    sticky: StickySettings = StickySettings()
    keepalive: KeepaliveSettings = KeepaliveSettings()
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    trusted_proxies: Annotated[tuple[Network, ...], CommaList] = Field(
        default=(),
        description="Networks (CIDR) of the proxies in front. What they say of the client in "
        "`X-Forwarded-*`, `Forwarded` and the like is believed; of all others it is dropped.",
    )
    via: Switch = Field(
        default=True,
        description="`on`: requests go on with a `Via` that names this instance (RFC 9110 section 7.6.3), by "
        "which one that comes back to it is recognised. `off`: without.",
    )
    request_trailers: Switch = Field(
        default=False,
        description="`on`: trailer fields of request bodies go on, but those that belong in a head. Only "
        "where all apps read trailers: another would take them for its next request. `off`: checked, and "
        "dropped.",
    )
    forwarded: ForwardedSettings = ForwardedSettings()
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

    @field_validator("upstreams")
    @classmethod
    def _there_is_room(cls, upstreams: tuple[Spec, ...], info: ValidationInfo) -> tuple[Spec, ...]:
        most = MOST_ENTITIES - OTHER_ENTITIES - info.data.get("workers", 1)
        if len(upstreams) > most:
            raise ValueError(f"names {len(upstreams)} upstreams; there is room for {most}: name fewer")
        return upstreams

    @field_validator("sticky")
    @classmethod
    def _hash_key_reaches_the_policy(cls, sticky: StickySettings, info: ValidationInfo) -> StickySettings:
        if (
            sticky.enabled
            and not sticky.app_cookie
            and info.data.get("hash_key") == f"cookie:{sticky.cookie}"
        ):
            raise MisfitError(
                "cookie",
                "is the balancer's own, and nothing for HASH_KEY to go by; give one of them another name",
            )
        return sticky

    @field_validator("admin_token_file")
    @classmethod
    def _one_token(cls, file: str, info: ValidationInfo) -> str:
        token = info.data.get("admin_token")
        if file and token is not None and token.get_secret_value():
            raise ValueError("is set beside ADMIN_TOKEN; keep one of them")
        return file

    @property
    def has_queue(self) -> bool:
        """Whether an upstream can be full, so that requests wait."""
        return self.limits.max_inflight > 0 or self.adaptive.enabled

    @field_validator("limits")
    @classmethod
    def _there_is_a_queue(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        adaptive = info.data.get("adaptive")
        if limits.max_inflight or adaptive is None or adaptive.enabled:
            return limits
        for name in ("queue_size", "queue_timeout"):
            value = getattr(limits, name)
            if value != LimitSettings.model_fields[name].default:
                raise MisfitError(
                    name,
                    "changes nothing: nobody waits without LIMITS__MAX_INFLIGHT or ADAPTIVE__ENABLED; "
                    "set one of them",
                )
        return limits

    @field_validator("limits")
    @classmethod
    def _every_worker_has_a_share(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        workers = info.data.get("workers")
        if workers is None:
            return limits
        for name in ("max_connections", "max_inflight", "queue_size"):
            value = getattr(limits, name)
            if 0 < value < workers:
                raise MisfitError(
                    name,
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
