"""The settings (L1): one tree of frozen models, with every default, bound and meaning.

A `Settings` object is built from its arguments and reads nothing by itself; `loader` merges environment and
file. It holds the settings of an instance, a listener, a route and a pool together: the top of the tree
applies to all of them. Models are used up to the supervisor's composition root (`runtime.blueprint`). The
field descriptions are the settings table of the docs.
"""

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from balancer.config.address import Address
from balancer.config.group import MisfitError
from balancer.config.instance import InstanceSettings, InstanceTimeouts
from balancer.config.listener import ListenerLimits, ListenerSettings, ListenerTimeouts
from balancer.config.pool import (
    NamedPool,
    PoolLimits,
    PoolSettings,
    PoolTimeouts,
    refuse_idle_queue,
    refuse_no_share,
)
from balancer.config.pool_groups import AdaptiveSettings
from balancer.config.reload import ReloadSettings
from balancer.config.route import RouteLimits, RouteTimeouts
from balancer.config.route_text import MOST_ROUTES
from balancer.config.routes import Routes
from balancer.config.split import SplitSettings
from balancer.config.state import StateSettings
from balancer.config.tls import TlsSettings
from balancer.config.upstream_spec import Spec

# Rows of the stats segment, which is in a layer above: a test compares. Each worker, listener, pool, route
# and upstream has one.
MOST_ENTITIES = 4096
OTHER_ENTITIES = 4


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
    tls: TlsSettings = TlsSettings()
    reload: ReloadSettings = ReloadSettings()
    state: StateSettings = StateSettings()
    pools: dict[str, NamedPool] = Field(
        default={},
        description="Further pools: `BALANCER_POOLS__<NAME>__UPSTREAMS` names the upstreams of one. It may "
        "have its own value of each setting of a pool, such as `BALANCER_POOLS__<NAME>__POLICY`.",
    )

    split: SplitSettings = SplitSettings()
    routes: Routes = Field(
        default=(),
        description="Which requests go to which pool; the first match wins: `/api/=api, "
        "static.example.com/=static, /=web`, or a list in JSON or YAML (docs/routes.md). If unset, all go to "
        "the only pool.",
    )

    @field_validator("admin_listen")
    @classmethod
    def _listeners_differ(cls, admin: Address, info: ValidationInfo) -> Address:
        listen = info.data.get("listen")
        if isinstance(listen, Address) and admin.clashes_with(listen):
            raise ValueError(f"has the same port as LISTEN ({listen}); give one of them another port")
        return admin

    @property
    def has_default(self) -> bool:
        """Whether there is the pool `default`: it has upstreams, or apps may join it."""
        return bool(self.upstreams) or self.registration.is_on

    @field_validator("tls")
    @classmethod
    def _its_port_is_free(cls, tls: TlsSettings, info: ValidationInfo) -> TlsSettings:
        for name in ("listen", "admin_listen"):
            other = info.data.get(name)
            if tls.is_on and isinstance(other, Address) and tls.listen.clashes_with(other):
                text = f"has the same port as {name.upper()} ({other}); give one of them another port"
                raise MisfitError("listen", text)
        return tls

    @field_validator("upstreams")
    @classmethod
    def _there_is_room(cls, upstreams: tuple[Spec, ...], info: ValidationInfo) -> tuple[Spec, ...]:
        most = MOST_ENTITIES - OTHER_ENTITIES - info.data.get("workers", 1)
        if len(upstreams) > most:
            raise ValueError(f"names {len(upstreams)} upstreams; there is room for {most}: name fewer")
        return upstreams

    @field_validator("pools")
    @classmethod
    def _there_is_room_for_all(
        cls, pools: dict[str, NamedPool], info: ValidationInfo
    ) -> dict[str, NamedPool]:
        found = list(info.data.get("upstreams", ()))
        most = MOST_ENTITIES - OTHER_ENTITIES - info.data.get("workers", 1) - len(pools) - MOST_ROUTES
        for name, pool in pools.items():
            found += pool.upstreams
            if len(found) > most:
                text = f"makes {len(found)} upstreams; in all pools there is room for {most}: name fewer"
                raise MisfitError(f"{name}.upstreams", text)
        return pools

    @field_validator("limits")
    @classmethod
    def _there_is_a_queue(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        refuse_idle_queue(limits, info.data.get("adaptive", AdaptiveSettings()))
        return limits

    @field_validator("limits")
    @classmethod
    def _every_worker_has_a_share(cls, limits: LimitSettings, info: ValidationInfo) -> LimitSettings:
        refuse_no_share(
            limits, info.data.get("workers", 1), ("max_connections", "max_inflight", "queue_size")
        )
        return limits

    @field_validator("pools")
    @classmethod
    def _every_worker_has_a_share_of_each(
        cls, pools: dict[str, NamedPool], info: ValidationInfo
    ) -> dict[str, NamedPool]:
        for name, pool in pools.items():
            workers = info.data.get("workers", 1)
            refuse_no_share(pool.limits, workers, ("max_inflight", "queue_size"), f"{name}.limits.")
        return pools

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
