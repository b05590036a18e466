"""From settings to a plan (L7), in the reader's process: it loads the models, the policies and YAML."""

from collections.abc import Mapping

from balancer.config.export import export
from balancer.config.loader import Loaded, load_with_origins
from balancer.config.token import read_token
from balancer.config.upstream_spec import DEFAULT
from balancer.errors import OperatorError, SettingsError
from balancer.policies import registry
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.name import make_name
from balancer.runtime.open_files import affordable_connections, hard_limit, is_alarming, lowered
from balancer.runtime.plan import Notice, Plan, Refused
from balancer.runtime.tls_spec import tls_plan, upstream_tls_plans


def read(environ: Mapping[str, str], config_file: str | None) -> Plan | Refused:
    """The plan for these settings, or everything that is wrong with them."""
    try:
        return plan(load_with_origins(environ, config_file, registry), hard_limit())
    except SettingsError as error:
        return Refused(tuple(error.problems))
    except OperatorError as error:
        return Refused((str(error),))


def plan(loaded: Loaded, open_files: int) -> Plan:
    """The plan for these settings and a limit of `open_files`. Raises OperatorError."""
    settings = loaded.settings
    notices = [Notice("warning", warning) for warning in loaded.warnings]
    wanted = settings.limits.max_connections
    affordable = affordable_connections(wanted, open_files, settings.workers)
    if affordable < wanted:
        asked_for = ("limits", "max_connections") in loaded.origins
        text = lowered(wanted, affordable, open_files, settings.workers)
        notices.append(Notice("warning" if is_alarming(affordable, asked_for) else "info", text))
    top = {DEFAULT: settings} if settings.upstreams else {}
    upstream_tls = {name: pool.upstream_tls for name, pool in {**top, **settings.pools}.items()}
    return Plan(
        instance=instance_spec(
            settings,
            via=make_name() if settings.via else "",
            max_connections=affordable,
            tls=loaded.tls,
            upstream_tls=loaded.upstream_tls,
        ),
        listen=settings.listen,
        admin_listen=settings.admin_listen,
        admin_hosts=settings.admin_hosts,
        admin_token=read_token(settings.admin_token.get_secret_value(), settings.admin_token_file),
        drain_delay=settings.timeouts.drain_delay,
        config=export(loaded),
        notices=tuple(notices),
        tls=tls_plan(settings.tls, loaded.tls),
        upstream_tls=tuple(upstream_tls_plans(upstream_tls, loaded.upstream_tls)),
    )
