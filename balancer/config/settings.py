"""The settings (L1): one tree of frozen models, with every default, bound and meaning.

A `Settings` object is built from its arguments and reads nothing by itself; `loader` merges environment and
file. It holds the settings of an instance, a listener, a route and a pool together: the top of the tree
applies to all of them. Models are used up to the supervisor's composition root (`runtime.blueprint`). The
field descriptions are the settings table of the docs.
"""

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from balancer.config.address import Address
from balancer.config.group import MisfitError
from balancer.config.instance import InstanceSettings, InstanceTimeouts
from balancer.config.listener import ListenerLimits, ListenerSettings, ListenerTimeouts
from balancer.config.pool import PoolLimits, PoolSettings, PoolTimeouts
from balancer.config.route import RouteLimits, RouteTimeouts
from balancer.config.upstream_spec import Spec

# Rows of the stats segment, which is in a layer above: a test compares. Each worker, the listener, the pool,
# the route and each upstream has one.
MOST_ENTITIES = 4096
OTHER_ENTITIES = 3


class TimeoutSettings(InstanceTimeouts, ListenerTimeouts, RouteTimeouts, PoolTimeouts):
    """Deadlines; 0 turns one off."""


class LimitSettings(RouteLimits, PoolLimits, ListenerLimits):
    """Limits on clients, requests and upstreams."""


class Settings(PoolSettings, InstanceSettings, ListenerSettings, BaseSettings):
    """Everything the operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="BALANCER_",
        env_nested_delimiter="__",
        case_sensitive=True,  # keys of a file are lower case; variables were checked before
        enable_decoding=False,  # our types parse lists and JSON themselves, also those from the file
        extra="forbid",
        frozen=True,
    )

    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()

    @field_validator("admin_listen")
    @classmethod
    def _listeners_differ(cls, admin: Address, info: ValidationInfo) -> Address:
        listen = info.data.get("listen")
        if isinstance(listen, Address) and admin.clashes_with(listen):
            raise ValueError(f"has the same port as LISTEN ({listen}); give one of them another port")
        return admin

    @field_validator("upstreams")
    @classmethod
    def _there_is_room(cls, upstreams: tuple[Spec, ...], info: ValidationInfo) -> tuple[Spec, ...]:
        most = MOST_ENTITIES - OTHER_ENTITIES - info.data.get("workers", 1)
        if len(upstreams) > most:
            raise ValueError(f"names {len(upstreams)} upstreams; there is room for {most}: name fewer")
        return upstreams

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
                    "has no effect: no request waits without LIMITS__MAX_INFLIGHT or "
                    "ADAPTIVE__ENABLED; set one of them",
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
        """Only the constructor's arguments: `loader` reads the sources, so that it can name them."""
        return (init_settings,)
