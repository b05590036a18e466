"""Where settings come from (L1): the environment and a YAML file, each read into a tree of raw values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal

from pydantic_settings import EnvSettingsSource

from balancer.config.catalogue import (
    BY_PATH,
    BY_VARIABLE,
    POOL_SETTINGS,
    POOLS,
    PREFIX,
    SETTINGS,
    Path,
    about_unknown_variable,
    key,
    own_path,
    variable,
)
from balancer.config.settings import Settings
from balancer.config.written import trimmed
from balancer.config.yaml_text import read_yaml, typed

# What Kubernetes and old Docker links inject for Services named `balancer` or `balancer-...`.
_SERVICE_VARIABLE = re.compile(
    r"BALANCER(_[A-Z0-9]+)*?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
GIVEN = "the given settings"  # the name of a file that is none
SETTINGS_PATHS = tuple(setting.path for setting in SETTINGS)
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set, if it is not a default; `where` is the place's name in messages."""

    kind: Literal["file", "environment", "command line"]
    where: str


@dataclass(slots=True)
class Reading:
    """What was read from one source: the raw values, each one's origin, and a sentence per problem."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unreadable: bool = False


def read_environment(environ: Mapping[str, str]) -> Reading:
    """The variables with our prefix. An empty one counts as unset: compose files pass unset ones as empty."""
    reading = Reading()
    given = {}
    of_pools: dict[Path, str] = {}
    for name, value in environ.items():
        if name in BY_VARIABLE:
            if text := value.strip():
                given[name] = text
        elif (path := own_path(name)) is not None:
            if text := value.strip():
                of_pools[path] = text
                reading.origins[path] = Origin("environment", name)
        elif name.upper().startswith(PREFIX) and not _injected(name, value):
            reading.problems.append(about_unknown_variable(name))
    source = EnvSettingsSource(Settings, case_sensitive=False)
    source.env_vars = {name.lower(): value for name, value in given.items()}
    reading.tree = source()
    reading.origins |= {BY_VARIABLE[name].path: Origin("environment", name) for name in given}
    for path, text in sorted(of_pools.items()):  # the order of variables means nothing
        _put(reading.tree, path, text)
    return reading


def _put(tree: dict[str, Any], path: Path, value: object) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def read_file(name: str, named_by: str) -> Reading:
    """A YAML file; `named_by` is the setting or option that names it. Unknown keys stay in the tree."""
    try:
        data = FilePath(name).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return _unreadable(
            f'{named_by}: "{name}" cannot be read ({reason}); correct the path or mount the file'
        )
    except ValueError:  # a NUL in the name
        return _unreadable(f'{named_by}: "{ascii(name)[1:-1]}" is no path; correct it')
    return read_text(name, data)


def read_text(name: str, data: bytes | str) -> Reading:
    """The content of a YAML file that is called `name`."""
    try:
        content = read_yaml(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        return _unreadable(f"{name}{error}")
    if content is not None and not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else "a single value"
        return _unreadable(
            f"{name}: holds {kind}, not settings; write lines such as upstreams: app1:8000, with a space "
            "after the name's colon"
        )
    return _from_mapping(name, content or {})


def _unreadable(problem: str) -> Reading:
    return Reading(problems=[problem], unreadable=True)


def _from_mapping(name: str, content: dict[object, object]) -> Reading:
    reading = Reading()
    top = {each: value for each, value in content.items() if each != POOLS}
    reading.tree = _level(reading, name, top, (), SETTINGS_PATHS)
    if reading.tree.pop("config", None) is not None:
        reading.problems.append(
            f"{name}: config: cannot be set in the file itself; use {variable(('config',))}"
        )
        reading.origins.pop(("config",), None)
    pools = content.get(POOLS)
    if isinstance(pools, dict):
        reading.tree[POOLS] = {}
        for pool, own in pools.items():
            above = (POOLS, str(pool))
            if isinstance(own, dict):
                reading.tree[POOLS][str(pool)] = _level(reading, name, own, above, POOL_SETTINGS)
            else:
                reading.problems.append(
                    f"{name}: {key(above)}: is a pool; write its settings indented below it"
                )
    elif pools is not None:
        text = "is a group, not a setting; write pools: {api: {upstreams: app1:8000}}"
        reading.problems.append(f"{name}: {POOLS}: {text}")
    return reading


def _level(
    reading: Reading, name: str, content: dict[object, object], above: Path, paths: Sequence[Path]
) -> dict[str, Any]:
    """The raw values of the top of a file's tree, of one of its pools, or of a group in either; `paths` of
    settings begin there. Origins and problems go to `reading`."""
    tree: dict[str, Any] = {}
    groups = {path[0] for path in paths if len(path) > 1}
    for raw_key, raw_value in content.items():
        group = str(raw_key)
        # A policy's options have their own types, and the policy decides what their white space means.
        value = typed(raw_value) if group == "policy_options" else trimmed(raw_value)
        if group not in groups:
            tree[group] = value
        elif isinstance(value, dict):
            inside = [path[1:] for path in paths if path[0] == group and len(path) > 1]
            tree[group] = _level(reading, name, value, (*above, group), inside)
        elif value is not None:  # a group whose lines are all commented out is None
            place = key((*above, group))
            reading.problems.append(f"{name}: {place}: is a group, not a setting; {_instead(group, value)}")
    for setting in (path[0] for path in paths if len(path) == 1):
        if setting not in tree:
            continue
        place = f"{name}: {key((*above, setting))}"
        if tree[setting] is None:
            del tree[setting]
            reading.problems.append(f"{place}: has no value; give it one or remove the line")
        else:
            reading.origins[*above, setting] = Origin("file", place)
    return tree


def _instead(group: str, value: object) -> str:
    word = str(value).lower()
    if word in ("on", "off", "true", "false", "yes", "no") and (group, "enabled") in BY_PATH:
        return f"write {group}: {{enabled: {word}}}"
    return "write its settings indented below it"


def _injected(name: str, value: str) -> bool:
    if _SERVICE_VARIABLE.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_LINK.fullmatch(value) is not None
