"""Every setting by name (L1): its spelling in the environment and in a file, and the meaning of typos.

Derived from the models, so that a new field appears here, in the docs and in `balancer check` at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from balancer.config.pool import NamedPool
from balancer.config.settings import Settings

PREFIX = "BALANCER_"
Path: TypeAlias = tuple[str, ...]  # ("timeouts", "connect")

# Settings of the design planned for later versions; a path includes everything below it.
NOT_YET: frozenset[Path] = frozenset(
    tuple(key.split("."))
    for key in (
        "stuck", "latency", "hedge",
    )
)  # fmt: skip


# Names of settings in other programs that are not similar in spelling to ours.
_OTHER_WORDS: dict[Path, Path] = {
    **{(word,): ("listen",) for word in ("port", "host", "bind", "address", "listen_port", "http_port")},
    **{(word,): ("admin_listen",) for word in ("admin", "admin_port", "admin_host", "admin_address")},
    **{(word,): ("upstreams",) for word in ("backends", "backend", "servers", "targets", "replicas")},
    **{(word,): ("workers",) for word in ("threads", "processes", "worker_processes")},
    **{(word,): ("policy",) for word in ("algorithm", "strategy", "lb_policy", "balance")},
    **{(word,): ("log_level",) for word in ("debug", "verbose", "loglevel", "verbosity")},
    ("log_format",): ("access_log", "format"),
    ("health_check", "host"): ("health_check", "headers"),
    ("health_check", "status"): ("health_check", "expect"),
    ("timeouts", "read"): ("timeouts", "first_byte"),
    ("timeouts", "response"): ("timeouts", "first_byte"),
    ("timeouts", "keepalive"): ("timeouts", "client_idle"),
    ("retry", "attempts"): ("retry", "max_attempts"),
    **{
        ("tls", word): ("tls", "certificates") for word in ("cert", "certs", "cert_file", "key_file", "files")
    },
    **{("tls", word): ("tls", "certificates") for word in ("enabled", "certificate_file")},
    **{(word,): ("tls", "listen") for word in ("tls_port", "https_port", "tls_listen")},
    ("tls", "ca"): ("tls", "client_ca"),
    **{("upstream_tls", word): ("upstream_tls", "server_name") for word in ("sni", "name", "host")},
    **{("upstream_tls", word): ("upstream_tls", "certificate") for word in ("cert", "client_certificate")},
    ("tls", "password"): ("tls", "password_file"),
    **{("tls", "acme", word): ("tls", "acme", "directory_url") for word in ("server", "ca_server", "url")},
    **{("tls", "acme", word): ("tls", "acme", "domains") for word in ("domain", "hosts", "enabled")},
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the tree."""

    path: Path
    field: FieldInfo

    @property
    def variable(self) -> str:
        """Its name in the environment: `BALANCER_TIMEOUTS__CONNECT`."""
        return variable(self.path)


def variable(path: Path) -> str:
    """The spelling of a path in the environment."""
    return PREFIX + "__".join(path).upper()


def key(path: Path) -> str:
    """The spelling in messages of a path in a file: `timeouts.connect`."""
    return ".".join(path)


def _walk(model: type[BaseModel], above: Path = ()) -> Iterator[Setting | Path]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield (*above, name)
            yield from _walk(field.annotation, (*above, name))
        else:
            yield Setting((*above, name), field)


POOLS = "pools"
SETTINGS: tuple[Setting, ...] = tuple(
    each for each in _walk(Settings) if isinstance(each, Setting) and each.path != (POOLS,)
)
# What a pool may have a value of its own for.
POOL_SETTINGS: tuple[Path, ...] = tuple(each.path for each in _walk(NamedPool) if isinstance(each, Setting))
GROUPS: tuple[Path, ...] = tuple(each for each in _walk(Settings) if not isinstance(each, Setting))
BY_PATH: dict[Path, Setting] = {setting.path: setting for setting in SETTINGS}
BY_VARIABLE: dict[str, Setting] = {setting.variable: setting for setting in SETTINGS}


def pool_of(path: Path) -> str | None:
    """The name of the pool that a path is in; None if it is at the top of the tree."""
    return path[1] if len(path) > 2 and path[0] == POOLS else None


def at_top(path: Path) -> Path:
    """The path at the top of the tree of a pool's setting."""
    return path if pool_of(path) is None else path[2:]


def own_path(name: str) -> Path | None:
    """The path of the pool's setting that a variable is: BALANCER_POOLS__API__POLICY. None if it is none."""
    path = tuple(name[len(PREFIX) :].lower().split("__"))
    known = name == name.upper() and pool_of(path) is not None and at_top(path) in POOL_SETTINGS
    return path if known else None


def about_unknown_variable(name: str) -> str:
    """One sentence about a BALANCER_ variable that is not a setting. Its value may be secret: not shown."""
    path = tuple(name[len(PREFIX) :].lower().split("__"))
    if path[0] == POOLS:
        return f"{name}: {_about_unknown_of_pool(path, variable)}"
    if path in GROUPS:
        example = next(variable(each) for each in BY_PATH if each[:-1] == path)
        return f"{name}: is a group, not a setting; set one of its settings, for example {example}"
    return f"{name}: {_about_unknown(path, variable)}"


def about_unknown_key(path: Path) -> str:
    """The rest of a sentence about a key in a file that is not a setting."""
    return _about_unknown(path, key) if path[0] != POOLS else _about_unknown_of_pool(path, key)


def _about_unknown_of_pool(path: Path, spelling: Callable[[Path], str]) -> str:
    if len(path) < 3:
        example = spelling((POOLS, path[1] if len(path) == 2 and path[1] else "api", "upstreams"))
        return f"is a group, not a setting; set one of its settings, for example {example}"
    above, own = path[:2], path[2:]
    if own in BY_PATH or own in GROUPS:
        return f"is not a setting of a pool; set {spelling(own)}, which is for all, or remove it"
    return _about_unknown(own, lambda meant: spelling((*above, *meant)))


def _about_unknown(path: Path, spelling: Callable[[Path], str]) -> str:
    if path in _OTHER_WORDS:
        return f"no such setting; did you mean {spelling(_OTHER_WORDS[path])}?"
    if _is_later(path):
        return "not part of this version yet; remove it"
    meant = _closest(path)
    if meant is None and path[:-1] in GROUPS:
        names = [each[-1] for each in BY_PATH if each[:-1] == path[:-1]]
        is_variable = spelling(path).startswith(PREFIX)
        shown = [name.upper() for name in names] if is_variable else names
        return f"no such setting; its group has {', '.join(shown)}"
    if meant is None:
        return "no such setting; remove it"
    if _is_later(meant):
        return f"no such setting, and {spelling(meant)} is not part of this version yet; remove it"
    return f"no such setting; did you mean {spelling(meant)}?"


def _is_later(path: Path) -> bool:
    return any(path[: len(later)] == later for later in NOT_YET)


def _closest(path: Path) -> Path | None:
    """The setting or group that was meant: a similar spelling, else the only one of that name in any group.

    In an existing group only the names within it are compared: with the group's name all would look similar.
    """
    if path[:-1] in GROUPS:
        close = get_close_matches(
            path[-1].lower(), [each[-1] for each in BY_PATH if each[:-1] == path[:-1]], 1
        )
        if close:
            return (*path[:-1], close[0])
        return _only_one_named(path[-1])
    by_text = {"__".join(each): each for each in (*BY_PATH, *GROUPS, *NOT_YET)}
    close = get_close_matches("__".join(path).lower(), by_text, 1, 0.75)
    if close:
        return by_text[close[0]]
    return _only_one_named(path[-1])


def _only_one_named(name: str) -> Path | None:
    same = [each for each in BY_PATH if each[-1] == name.lower()]
    return same[0] if len(same) == 1 else None
