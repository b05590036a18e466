"""Where settings come from (L1): the environment and a YAML file, each read into a tree of raw values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal

from pydantic_settings import EnvSettingsSource

from balancer.config.catalogue import (
    BY_PATH,
    BY_VARIABLE,
    GROUPS,
    PREFIX,
    SETTINGS,
    Path,
    about_unknown_variable,
    key,
    variable,
)
from balancer.config.settings import Settings
from balancer.config.written import trimmed
from balancer.config.yaml_text import read_yaml, typed

# What Kubernetes and old Docker links inject for Services named `balancer` or `balancer-...`.
_SERVICE_VARIABLE = re.compile(
    r"BALANCER(_[A-Z0-9]+)*?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)"
)
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
    for name, value in environ.items():
        if name in BY_VARIABLE:
            if text := value.strip():
                given[name] = text
        elif name.upper().startswith(PREFIX) and not _injected(name, value):
            reading.problems.append(about_unknown_variable(name))
    source = EnvSettingsSource(Settings, case_sensitive=False)
    source.env_vars = {name.lower(): value for name, value in given.items()}
    reading.tree = source()
    reading.origins = {BY_VARIABLE[name].path: Origin("environment", name) for name in given}
    return reading


def read_file(name: str, named_by: str) -> Reading:
    """A YAML file; `named_by` is the setting or option that names it. Unknown keys stay in the tree."""
    try:
        content = read_yaml(FilePath(name).read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return _unreadable(
            f'{named_by}: "{name}" cannot be read ({reason}); correct the path or mount the file'
        )
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
    for raw_key, raw_value in content.items():
        group = (str(raw_key),)
        # A policy's options have their own types, and the policy decides what their white space means.
        value = typed(raw_value) if group == ("policy_options",) else trimmed(raw_value)
        if group not in GROUPS:
            reading.tree[group[0]] = value
        elif isinstance(value, dict):
            reading.tree[group[0]] = {str(each): item for each, item in value.items()}
        elif value is not None:  # a group whose lines are all commented out is None
            reading.problems.append(
                f"{name}: {group[0]}: is a group, not a setting; {_instead(group[0], value)}"
            )
    if reading.tree.pop("config", None) is not None:
        reading.problems.append(
            f"{name}: config: cannot be set in the file itself; use {variable(('config',))}"
        )
    for setting in SETTINGS:
        holder = reading.tree if len(setting.path) == 1 else reading.tree.get(setting.path[0], {})
        last = setting.path[-1]
        if last not in holder:
            continue
        place = f"{name}: {key(setting.path)}"
        if holder[last] is None:
            del holder[last]
            reading.problems.append(f"{place}: has no value; give it one or remove the line")
        else:
            reading.origins[setting.path] = Origin("file", place)
    return reading


def _instead(group: str, value: object) -> str:
    word = str(value).lower()
    if word in ("on", "off", "true", "false", "yes", "no") and (group, "enabled") in BY_PATH:
        return f"write {group}: {{enabled: {word}}}"
    return "write its settings indented below it"


def _injected(name: str, value: str) -> bool:
    if _SERVICE_VARIABLE.fullmatch(name):
        return True
    return name.endswith("_PORT") and _SERVICE_LINK.fullmatch(value) is not None
