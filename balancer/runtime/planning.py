"""From settings to a plan (L7), in the reader's process: it loads the models, the policies and YAML."""

import pickle
from collections.abc import Mapping
from functools import partial

from balancer.config.export import export
from balancer.config.loader import Loaded, load_with_origins
from balancer.config.settings import Settings
from balancer.config.token import read_token
from balancer.config.upstream_spec import DEFAULT
from balancer.discovery import own_sources
from balancer.edges import DEFAULT as DEFAULT_BOUNDS
from balancer.errors import OperatorError, SettingsError
from balancer.policies import registry
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.name import make_name
from balancer.runtime.open_files import affordable_connections, hard_limit, is_alarming, lowered
from balancer.runtime.plan import Notice, Plan, Refused, ReloadPlan, Reread
from balancer.runtime.setting_changes import RESTART, changes
from balancer.runtime.tls_spec import tls_plan, upstream_tls_plans
from balancer.spec.instance import InstanceSpec
from balancer.spec.part import replaced


def read(environ: Mapping[str, str], config_file: str | None) -> Plan | Refused:
    """The plan for these settings, or everything that is wrong with them."""
    try:
        return plan(load_with_origins(environ, config_file, registry, own_sources), hard_limit())
    except SettingsError as error:
        return Refused(tuple(error.problems))
    except OperatorError as error:
        return Refused((str(error),))


def read_again(
    environ: Mapping[str, str],
    config_file: str | None,
    text: str | None,
    before: bytes,
    counted: tuple[float, ...],
) -> Reread | Refused:
    """As `read`, with what differs from the settings `before`, which are `Plan.models`. `text` is that of a
    settings file to read instead; `counted` as for `instance_spec`."""
    try:
        loaded = load_with_origins(environ, config_file, registry, own_sources, text)
        new = plan(loaded, hard_limit(), counted)
    except SettingsError as error:
        return Refused(tuple(error.problems))
    except OperatorError as error:
        return Refused((str(error),))
    old: Settings = pickle.loads(before)  # written by `plan`, and kept by the supervisor
    found = tuple(changes(old, loaded.settings, partial(_spec_of, loaded, counted)))
    in_force = loaded.settings.model_copy(update={name: getattr(old, name) for name in RESTART})
    return Reread(plan=replaced(new, models=pickle.dumps(in_force)), changes=found)


def _spec_of(loaded: Loaded, counted: tuple[float, ...], settings: Settings) -> InstanceSpec:
    """The spec of settings, as far as it does not depend on files and on this machine."""
    return instance_spec(
        settings,
        via="",
        max_connections=settings.limits.max_connections,
        tls=loaded.tls,
        upstream_tls=loaded.upstream_tls,
        counted=counted,
    )


def _watched(loaded: Loaded) -> tuple[str, ...]:
    """The settings file, and the files named by settings that nothing else watches."""
    settings = loaded.settings
    named = [settings.config, settings.admin_token_file]
    named += [pool.registration.token_file for pool in (settings, *settings.pools.values())]
    named += [route.respond.file for route in settings.routes if route.respond is not None]
    return tuple(name for name in named if name)


def plan(loaded: Loaded, open_files: int, counted: tuple[float, ...] = DEFAULT_BOUNDS) -> Plan:
    """The plan for these settings and a limit of `open_files`; `counted` as for `instance_spec`. Raises
    OperatorError."""
    settings = loaded.settings
    notices = [Notice("warning", warning) for warning in loaded.warnings]
    wanted = settings.limits.max_connections
    affordable = affordable_connections(wanted, open_files, settings.workers)
    if affordable < wanted:
        asked_for = ("limits", "max_connections") in loaded.origins
        text = lowered(wanted, affordable, open_files, settings.workers)
        notices.append(Notice("warning" if is_alarming(affordable, asked_for) else "info", text))
    top = {DEFAULT: settings} if settings.has_default else {}
    upstream_tls = {name: pool.upstream_tls for name, pool in {**top, **settings.pools}.items()}
    registration_tokens = {
        name: read_token(
            group.token.get_secret_value(), group.token_file, f"REGISTRATION__TOKEN_FILE of pool {name}"
        )
        for name, pool in {**top, **settings.pools}.items()
        if (group := pool.registration).is_on
    }
    admin_token = read_token(settings.admin_token.get_secret_value(), settings.admin_token_file)
    if admin_token and admin_token in registration_tokens.values():
        raise OperatorError("REGISTRATION__TOKEN is also the ADMIN_TOKEN; choose another")
    return Plan(
        instance=instance_spec(
            settings,
            via=make_name() if settings.via else "",
            max_connections=affordable,
            tls=loaded.tls,
            upstream_tls=loaded.upstream_tls,
            counted=counted,
        ),
        listen=settings.listen,
        admin_listen=settings.admin_listen,
        admin_hosts=settings.admin_hosts,
        admin_token=admin_token,
        registration_tokens=registration_tokens,
        drain_delay=settings.timeouts.drain_delay,
        config=export(loaded),
        notices=tuple(notices),
        reload=ReloadPlan(
            drain=settings.reload.drain,
            ready=settings.reload.ready,
            watched=_watched(loaded) if settings.reload.watch else (),
        ),
        state_file=settings.state.file,
        models=pickle.dumps(settings),
        from_environment=tuple(
            sorted({one.where for one in loaded.origins.values() if one.kind == "environment"})
        ),
        tls=tls_plan(settings.tls, loaded.tls),
        upstream_tls=tuple(upstream_tls_plans(upstream_tls, loaded.upstream_tls)),
    )
