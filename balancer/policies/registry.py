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


def problem(name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with this choice, None for nothing.

    Gives the setting, `policy` or `policy_options`, and the end of a sentence that begins with its value.
    """
    if name not in _BUILT_IN:
        close = get_close_matches(name, _BUILT_IN, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"write {' or '.join(names())}"
        return "policy", f"is not a policy; {remedy}"
    if options:
        return "policy_options", f"is more than {name} takes, which has no options; remove it"
    return None


def build(name: str, options: Mapping[str, Any], context: PolicyContext) -> Policy:
    """A new policy object. Raises SettingsError where there is a `problem`."""
    found = problem(name, options)
    if found is not None:
        raise SettingsError([f"{found[0]}: {name if found[0] == 'policy' else dict(options)} {found[1]}"])
    return _BUILT_IN[name][1](context)
