"""Merge environment and file (L1): read both, check the names, validate once, report every problem.

The environment overrides the file. Policies and installed sources are in layers above this one, so the
composition root passes in what is known about them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from balancer.clock import SystemClock
from balancer.config.address import is_unix
from balancer.config.catalogue import BY_PATH, POOLS, Path, variable
from balancer.config.finding_specs import DnsSpec, OwnSpec
from balancer.config.ourselves import ourselves
from balancer.config.own_cookies import refused_cookies
from balancer.config.pool import PoolSettings
from balancer.config.pools import about_name, completed
from balancer.config.problems import about_route, about_value, as_written, place, sentences
from balancer.config.refused_routes import broken_routes, circles_by_tls, refused_routes
from balancer.config.settings import Settings
from balancer.config.slo_bounds import too_many_bounds
from balancer.config.sources import GIVEN, Origin, Reading, read_environment, read_file, read_text
from balancer.config.split import OWN_COOKIE
from balancer.config.state import why_unusable
from balancer.config.sticky import NO_SECRET
from balancer.config.tls_files import NO_TLS, TlsFiles, read_files
from balancer.config.token import read_token_file
from balancer.config.traces import Otel, missing
from balancer.config.trusted_fields import refused_fields
from balancer.config.unused import unused
from balancer.config.upstream_spec import DEFAULT, UpstreamSpec
from balancer.config.upstream_tls_files import UpstreamTlsFiles, read_upstream_tls
from balancer.config.written import is_text
from balancer.errors import SettingsError

_NO_TEXT = "has characters that are not UTF-8 text; write it again"


class Policies(Protocol):
    """What the loader needs to know about policies; the registry implements it."""

    def problem(self, name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
        """What is wrong with this choice: the setting that is wrong ("policy" or "policy_options") and the
        end of a sentence that begins with its value. None if nothing is wrong."""

    def needs_key(self, name: str) -> bool:
        """Whether a policy uses a hash key."""

    def key_source(self, name: str) -> str | None:
        """The source of the hash key, if the policy fixes it."""


class OwnSources(Protocol):
    """What the loader needs to know about installed sources of upstreams; `discovery.own_sources` has it."""

    def problem(self, url: str) -> str | None:
        """What is wrong with an entry: the end of a sentence that begins with it. None if nothing is."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and the origin of each value that is not a default; `warnings` are sentences about settings
    that change nothing, or that reveal more to clients than necessary. `tls` has the certificates for
    clients, `upstream_tls` what each pool needs for its upstreams."""

    settings: Settings
    origins: Mapping[Path, Origin]
    warnings: tuple[str, ...] = ()
    tls: TlsFiles = NO_TLS
    upstream_tls: Mapping[str, UpstreamTlsFiles] = field(default_factory=dict)


def load(
    environ: Mapping[str, str], config_file: str | None = None, policies: Policies | None = None
) -> Settings:
    """The settings of this instance. `config_file`, from the command line, wins over BALANCER_CONFIG.

    Raises SettingsError with all problems.
    """
    return load_with_origins(environ, config_file, policies).settings


def load_with_origins(
    environ: Mapping[str, str],
    config_file: str | None = None,
    policies: Policies | None = None,
    sources: OwnSources | None = None,
    text: str | None = None,
) -> Loaded:
    """Like `load`, with the origin of each value. `text` is used instead of the content of a settings
    file."""
    environment = read_environment(environ)
    if config_file:
        environment.tree["config"] = config_file
        environment.origins["config",] = Origin("command line", "--config")
    name = environment.tree.get("config")
    if text is not None:
        file = read_text(GIVEN, text)
    else:
        file = read_file(name, environment.origins["config",].where) if name else Reading()
    origins = {**file.origins, **environment.origins}
    tree = completed(_overlay(file.tree, environment.tree))
    if tree.get(POOLS) or tree.get("registration"):
        tree.setdefault("upstreams", [])  # the pool `default` is not needed then, or apps join it
    problems = [*environment.problems, *file.problems, *_pool_names(tree, origins)]
    if not is_text(tree):  # the models would raise a UnicodeEncodeError
        raise _wrong([*problems, *(_text_problems(tree, origins) or [f"{name}: {_NO_TEXT}"])])
    settings: Settings | None
    tls, upstream_tls = NO_TLS, dict[str, UpstreamTlsFiles]()
    try:
        settings = Settings(**tree)
    except ValidationError as error:
        # An unreadable file may contain the upstreams: reporting the file is enough.
        problems += sentences(error, origins, name, tree, blame_missing=not file.unreadable)
        problems += broken_routes(tree, origins, knows_pools=not file.unreadable)
        settings = None
    else:
        problems += refused_routes(settings, origins)
        problems += _nobody(settings, origins)
        problems += _no_routes(settings, origins)
        problems += _circles(settings, origins)
        if sources is not None:
            problems += _source_problems(settings, origins, sources)
        problems += _kept_without_cookie(settings, origins)
        problems += refused_cookies(settings, origins)
        problems += refused_fields(settings, origins)
        problems += too_many_bounds(settings, origins)
        problems += _file_problems(settings, origins)
        now = SystemClock().wall()
        hosts = [host for route in settings.routes for host in route.match.host]
        tls = read_files(settings.tls, now, hosts)
        problems += _files_problems(("tls",), tls.problems, origins)
        for pool_name, pool in {DEFAULT: settings, **settings.pools}.items():
            upstream_tls[pool_name] = read = read_upstream_tls(pool.upstream_tls, now)
            above = () if pool_name == DEFAULT else (POOLS, pool_name)
            problems += _files_problems((*above, "upstream_tls"), read.problems, origins)
    otel = Otel(environ)
    if settings is not None and settings.traces.enabled:
        problems += [about_value(("traces", "enabled"), True, text, origins) for text in missing()]
        settings, origins = _by_otel(settings, origins, otel)
    if policies is not None:
        options = {} if settings is None else settings.policy_options
        problems += _policy_problems(tree, options, (), origins, policies)
        for pool, values in (tree.get(POOLS) or {}).items():
            options = {} if settings is None else settings.pools[pool].policy_options
            problems += _policy_problems(values, options, (POOLS, pool), origins, policies)
    if problems or settings is None:
        raise _wrong(problems)
    warnings = [
        *_said_by_otel(settings, otel, origins),
        *unused(settings, origins, tree),
        *_without_requests(settings, origins),
    ]
    warnings += circles_by_tls(settings, origins)
    if any(
        pool.sticky.enabled and not pool.sticky.secret.get_secret_value()
        for pool in (settings, *settings.pools.values())
    ):
        warnings.append(NO_SECRET)
    warnings += dict.fromkeys(_unverified(settings, origins))
    warnings += tls.warnings
    warnings += dict.fromkeys(text for read in upstream_tls.values() for text in read.warnings)
    return Loaded(settings, origins, tuple(map(_printable, warnings)), tls, upstream_tls)


def _by_otel(
    settings: Settings, origins: Mapping[Path, Origin], otel: Otel
) -> tuple[Settings, dict[Path, Origin]]:
    """The settings as the standard variables of OpenTelemetry complete them, with their origins."""
    changes: dict[str, Any] = {}
    origins = dict(origins)
    if otel.off:
        changes["enabled"] = False
    if otel.sample is not None and ("traces", "sample") not in origins:
        changes["sample"] = otel.sample
        origins["traces", "sample"] = Origin("environment", "OTEL_TRACES_SAMPLER")
    traces = settings.traces.model_copy(update=changes)
    return settings.model_copy(update={"traces": traces}), origins


def _said_by_otel(settings: Settings, otel: Otel, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Standard variables that turn traces off, or that do nothing."""
    if settings.traces.enabled:
        yield from otel.ignored
    elif otel.off and ("traces", "enabled") in origins:
        yield about_value(("traces", "enabled"), True, f"has no effect while {otel.off}", origins)


def _unverified(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Pools whose upstreams may be anybody."""
    for above, pool in _pools(settings):
        if not pool.upstream_tls.verify and any(each.tls for each in pool.upstreams):
            text = (
                "means that certificates of upstreams are not verified: whoever can redirect connections to "
                "them can read and change requests; set UPSTREAM_TLS__CA instead"
            )
            yield about_value((*above, "upstream_tls", "verify"), False, text, origins)


def _wrong(problems: list[str]) -> SettingsError:
    return SettingsError([_printable(problem) for problem in dict.fromkeys(problems)])


def _printable(sentence: str) -> str:
    # It quotes keys and values: a line break or an escape sequence in them must not reach a terminal.
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in sentence)


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    # Only groups and pools are a mapping on both sides: a variable holds the options of a policy as text.
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _overlay(below[key], above[key])
    return merged


def _pool_names(tree: Mapping[str, Any], origins: Mapping[Path, Origin]) -> Iterator[str]:
    for name in tree.get(POOLS) or ():
        if (text := about_name(name)) is not None:
            where = next((one.where for path, one in origins.items() if path[:2] == (POOLS, name)), POOLS)
            yield f'{where}: "{name}" {text}'


def _pools(settings: Settings) -> list[tuple[Path, PoolSettings]]:
    """The settings at the top, which are those of the pool `default`, and all pools, with their paths."""
    return [((), settings), *(((POOLS, name), pool) for name, pool in settings.pools.items())]


def _nobody(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Pools without an upstream."""
    for above, pool in _pools(settings)[1 if settings.pools else 0 :]:
        if not pool.upstreams and not pool.registration.is_on:
            text = "names no upstream; write app1:8000,app2:8000"
            yield about_value((*above, "upstreams"), [], text, origins)


def _no_routes(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Several pools, and nothing that says which requests they serve."""
    pools = [*([DEFAULT] if settings.has_default else []), *settings.pools]
    if not settings.routes and len(pools) > 1:
        example = ", ".join([*(f"/{name}/={name}" for name in pools[1:]), f"/={pools[0]}"])
        yield (
            f"{variable(('routes',))}: is not set, but there are {len(pools)} pools; write, for example, "
            f"{example}"
        )


def _without_requests(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Pools that no route names."""
    named = {pool for route in settings.routes for pool in route.pools}
    for name in [*([DEFAULT] if settings.has_default else []), *settings.pools]:
        if settings.routes and name not in named:
            yield f"{variable(('routes',))}: no route names the pool {name}, so it gets no requests"


def _kept_without_cookie(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Sides that are to keep their users, who have no cookie that says so."""
    for number, route in enumerate(settings.routes, 1):
        if route.split is not None and route.split.keep and settings.split.key != OWN_COOKIE:
            text = f"split.keep: has no effect while SPLIT__KEY is {settings.split.key}; set it to cookie"
            yield about_route(number, route.name, f"{text}, or remove this", origins)


def _circles(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Upstreams and checks that lead back to this balancer, as far as this is visible without a lookup."""
    tls_listen = settings.tls.listen if settings.tls.is_on else None
    own = ourselves(settings.listen, settings.admin_listen, tls_listen)
    for above, pool in _pools(settings):
        check_port = pool.health_check.port if pool.health_check.enabled else 0
        for spec in pool.upstreams:
            if not isinstance(spec, UpstreamSpec | DnsSpec):
                continue  # what it lists is not known yet
            if check_port and is_unix(spec.host):
                text = f"is a port, which {spec.id} does not have; write 0 for the upstream's own"
                yield about_value((*above, "health_check", "port"), check_port, text, origins)
            if why := own.why(spec.host, spec.port):
                yield about_value((*above, "upstreams"), spec.id, why, origins)
            elif check_port and (listener := own.at(spec.host, check_port)) is not None:
                text = (
                    f"makes the checks of {spec.id} go to this balancer itself ({listener.setting} "
                    f"{listener.address}); write the app's port, or 0 for the upstream's own"
                )
                yield about_value((*above, "health_check", "port"), check_port, text, origins)


def _source_problems(
    settings: Settings, origins: Mapping[Path, Origin], sources: OwnSources
) -> Iterator[str]:
    """Entries that their installed sources refuse."""
    for above, pool in _pools(settings):
        for spec in pool.upstreams:
            if isinstance(spec, OwnSpec) and (text := sources.problem(spec.id)) is not None:
                yield about_value((*above, "upstreams"), spec.id, text, origins)


def _text_problems(tree: Mapping[str, Any], origins: Mapping[Path, Origin]) -> list[str]:
    """Bytes that are not UTF-8, and lone surrogates: they could not be sent to workers."""
    return [
        f"{origin.where}: {_NO_TEXT}"
        for path, origin in origins.items()
        if not is_text(as_written(path, tree))
    ]


def _file_problems(settings: Settings, origins: Mapping[Path, Origin]) -> list[str]:
    """Problems with the other files that are read at start."""
    problems = []
    if settings.admin_token_file:
        try:
            read_token_file(settings.admin_token_file)
        except ValueError as error:
            problems.append(
                about_value(("admin_token_file",), settings.admin_token_file, str(error), origins)
            )
    if settings.state.file and (why := why_unusable(settings.state.file)):
        problems.append(about_value(("state", "file"), settings.state.file, why, origins))
    problems += _token_problems(settings, origins)
    for number, route in enumerate(settings.routes, 1):
        if route.respond is not None:
            try:
                route.respond.body()
            except ValueError as error:
                text = f'respond.file: "{route.respond.file}" {error}'
                problems.append(about_route(number, route.name, text, origins))
    return problems


def _token_problems(settings: Settings, origins: Mapping[Path, Origin]) -> Iterator[str]:
    """Files without a token of a pool's apps, and tokens that would let apps make any change."""
    admin = settings.admin_token.get_secret_value()
    for above, pool in _pools(settings):
        token, file = pool.registration.token.get_secret_value(), pool.registration.token_file
        if file:
            try:
                read_token_file(file)
            except ValueError as error:
                yield about_value((*above, "registration", "token_file"), file, str(error), origins)
        elif token and token == admin:
            where = place((*above, "registration", "token"), origins)
            yield f"{where}: is also the ADMIN_TOKEN, which allows any change; choose another"


def _files_problems(
    group: Path, found: Iterable[tuple[str, str, str]], origins: Mapping[Path, Origin]
) -> Iterator[str]:
    """Problems with certificates, keys, and what is read with them: setting, file, end of the sentence."""
    for setting, file, text in found:
        where = place((*group, *setting.split(".")), origins)
        # Not shortened, as other values are: the file is what people look for.
        yield f'{where}: "{file}" {text}' if file else f"{where}: {text}"


def _policy_problems(
    tree: Mapping[str, Any],
    options: Mapping[str, Any],
    above: Path,
    origins: Mapping[Path, Origin],
    policies: Policies,
) -> list[str]:
    """Of the pool at `above`, whose raw values `tree` holds."""
    policy = tree.get("policy", BY_PATH["policy",].field.default)
    if not isinstance(policy, str) or not policy:
        return []  # a problem that validation has reported
    found = policies.problem(policy, options)
    if found is not None:
        setting, text = found
        return [about_value((*above, setting), policy if setting == "policy" else options, text, origins)]
    hash_key = tree.get("hash_key", default := BY_PATH["hash_key",].field.default)
    if hash_key == default:
        return []
    if not policies.needs_key(policy):
        text = f"has no effect: policy {policy} does not hash; remove it, or set POLICY to consistent_hash"
    elif (source := policies.key_source(policy)) is not None:
        text = (
            f"has no effect: policy {policy} always hashes {source}; remove it, or set POLICY to "
            "consistent_hash"
        )
    else:
        return []
    return [about_value((*above, "hash_key"), hash_key, text, origins)]
