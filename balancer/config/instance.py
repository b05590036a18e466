"""The settings of an instance (L1): its processes, its admin listener, and its logs."""

from functools import partial
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

from balancer.config.access_log import AccessLogSettings
from balancer.config.address import Address, parse_host_name, parse_listen
from balancer.config.cpus import usable_cpus
from balancer.config.explain import ExplainSettings
from balancer.config.group import Group
from balancer.config.metrics import MetricsSettings
from balancer.config.traces import TracesSettings
from balancer.config.types import CommaList, Count, Duration, SecretToken, Switch, lower


def _parse_workers(value: object) -> object:
    return usable_cpus() if isinstance(value, str) and value.strip().lower() == "auto" else value


HostName = Annotated[str, AfterValidator(parse_host_name)]
AdminAddress = Annotated[
    Address,
    BeforeValidator(partial(parse_listen, example="127.0.0.1:9901")),
    PlainSerializer(str, when_used="json"),
]


class InstanceTimeouts(Group):
    """Timeouts for its shutdown."""

    drain: Duration = Field(
        default=25.0,
        description="After TERM, time for running exchanges to finish; 0 cuts them off at once.",
    )
    drain_delay: Duration = Field(
        default=0.0,
        description="After TERM, time to keep accepting connections while `/readyz` already fails.",
    )


class InstanceSettings(Group):
    """Settings that exist once, for all listeners, routes and pools."""

    config: str | None = Field(
        default=None, description="YAML file with the same tree; the environment takes precedence."
    )
    admin_listen: AdminAddress = Field(
        default=Address("127.0.0.1", 9901),
        validate_default=True,
        description="Address of `/healthz`, `/readyz`, `/metrics` and the admin API.",
    )
    admin_token: SecretToken = Field(
        default=SecretStr(""),
        description="Token for admin API changes. If unset, only local processes may make changes.",
    )
    admin_token_file: str = Field(
        default="",
        description="File with the admin token, instead of ADMIN_TOKEN; read at start and by each reload.",
    )
    admin_hosts: Annotated[tuple[HostName, ...], CommaList] = Field(
        default=(),
        description="Host names that the admin listener accepts besides loopback ones, such as "
        "`lb.example`. If unset, a listener on loopback accepts only loopback names, any other "
        "accepts all.",
    )
    workers: Annotated[Count, BeforeValidator(_parse_workers)] = Field(
        default=1,
        ge=1,
        le=256,
        description="Worker processes; `auto` = the CPUs this container may use.",
    )
    via: Switch = Field(
        default=True,
        description="`on`: forwarded requests carry a `Via` that names this instance (RFC 9110 section "
        "7.6.3), so that it recognises a request that loops back. `off`: no `Via` is added.",
    )
    access_log: AccessLogSettings = AccessLogSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()
    explain: ExplainSettings = ExplainSettings()
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        default="info", description="Log level on stderr: `debug`, `info`, `warning` or `error`."
    )

    @field_validator("admin_token_file")
    @classmethod
    def _one_token(cls, file: str, info: ValidationInfo) -> str:
        token = info.data.get("admin_token")
        if file and token is not None and token.get_secret_value():
            raise ValueError("is set together with ADMIN_TOKEN; keep one of them")
        return file
