"""The settings file of the balancer that is changed, and how each reload changes it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAIN, CANARY = "main", "canary"  # pools
SPARE = 1  # replicas, the last ones, that are members only now and then


@dataclass(frozen=True, slots=True)
class Values:
    """What reloads change. The first five are taken up live, the others by new workers."""

    spare: bool = False  # the spare replica is a member
    weight: int = 1  # of the first replica
    interval: int = 1  # seconds between active checks
    routed: bool = False  # a route leads to the canary pool
    canary: int = 10  # percent of all requests
    attempts: int = 3
    idle: int = 64  # connections to an upstream that are kept


# Values of successive reloads: (name, one, other).
LIVE: Sequence[tuple[str, Any, Any]] = (
    ("spare", False, True),
    ("weight", 1, 3),
    ("interval", 1, 2),
    ("routed", False, True),
    ("canary", 10, 30),
)
BY_NEW_WORKERS: Sequence[tuple[str, Any, Any]] = (("attempts", 3, 4), ("idle", 64, 48))


def change(values: Values, number: int) -> tuple[Values, bool]:
    """The values of the reload with this number, counted from 0; and whether it is live. Half of them are."""
    table = LIVE if (is_live := number % 2 == 0) else BY_NEW_WORKERS
    name, one, other = table[number // 2 % len(table)]
    changed = {slot: getattr(values, slot) for slot in Values.__slots__}
    changed[name] = other if changed[name] == one else one
    return Values(**changed), is_live


def tree(values: Values, replicas: Sequence[str]) -> dict[str, Any]:
    """The settings with these values. The last replica but SPARE is the canary."""
    *members, canary = replicas[:-SPARE]
    members[0] += f"?weight={values.weight}"
    if values.spare:
        members += replicas[-SPARE:]
    routed = [{"name": "news", "match": {"path_prefix": "/news"}, "pool": CANARY}] if values.routed else []
    split = [{"pool": MAIN, "weight": 100 - values.canary}, {"pool": CANARY, "weight": values.canary}]
    return {
        "pools": {MAIN: {"upstreams": members}, CANARY: {"upstreams": [canary]}},
        "routes": [*routed, {"name": "web", "split": split}],
        "health_check": {"path": "/health", "interval": f"{values.interval}s"},
        "retry": {"max_attempts": values.attempts},
        "keepalive": {"max_idle": values.idle},
    }


# What a broken file may be, by the kind.
BROKEN: Mapping[str, str] = {
    "a wrong value": json.dumps({"upstreams": "127.0.0.1:1", "retry": {"max_attempts": "many"}}),
    "an unknown setting": json.dumps({"upstreams": "127.0.0.1:1", "retries": 3}),
    "no YAML": "upstreams: [127.0.0.1:1\n",
    "unreadable": "",
}


def write(path: Path, text: str) -> None:
    """Replace the file at once, as deployments do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def write_tree(path: Path, settings: Mapping[str, Any]) -> None:
    """Write a settings file: JSON is YAML."""
    write(path, json.dumps(settings, indent=1))
