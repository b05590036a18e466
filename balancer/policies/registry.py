"""Which policies there are, by the name that the settings give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from typing import Any

from balancer.errors import SettingsError
from balancer.policies.base import Policy
from balancer.policies.least_connections import LeastConnections
from balancer.policies.round_robin import RoundRobin


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a policy may be built with: randomness, and the worker's slot (rotation starts there)."""

    random: Random
    slot: int


Factory = Callable[[PolicyContext], Policy]

_BUILT_IN: dict[str, tuple[type[Policy], Factory]] = {
    "least_connections": (LeastConnections, lambda context: LeastConnections(context.random, context.slot)),
    "round_robin": (RoundRobin, lambda context: RoundRobin(context.slot)),
}


def names() -> list[str]:
    """Every registered policy, in alphabetical order."""
    return sorted(_BUILT_IN)


def summary(name: str) -> str:
    """One line on a registered policy."""
    return _BUILT_IN[name][0].summary


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raises SettingsError where `name` is not registered or it does not take these options."""
    if name not in _BUILT_IN:
        close = get_close_matches(name, _BUILT_IN, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names())}"
        raise SettingsError([f"BALANCER_POLICY={name}: there is no such policy; {hint}"])
    if options:
        given = ", ".join(sorted(options))
        raise SettingsError([f"BALANCER_POLICY_OPTIONS: {name} takes no options, but {given} was given"])


def build(name: str, options: Mapping[str, Any], context: PolicyContext) -> Policy:
    """A new policy object. Raises SettingsError as `check` does."""
    check(name, options)
    return _BUILT_IN[name][1](context)
