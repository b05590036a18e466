"""All policies by their name in the settings: built in, installed, or `module:attribute`."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from typing import Any, Final

from balancer.clock import SystemClock
from balancer.errors import SettingsError
from balancer.policies import plugins
from balancer.policies.base import Factory, Policy, PolicyContext
from balancer.policies.consistent_hash import consistent_hash
from balancer.policies.ip_hash import IpHash
from balancer.policies.least_connections import LeastConnections
from balancer.policies.options import DeclarationError, Option, OptionError, declared, values
from balancer.policies.peak_ewma import DECAY, PeakEwma
from balancer.policies.plugins import PluginError
from balancer.policies.power_of_two import PowerOfTwo
from balancer.policies.round_robin import RoundRobin
from balancer.policies.weighted_random import WeightedRandom


# Options are read from signatures, which the functions and classes of compiled modules do not have.
def _consistent_hash(context: PolicyContext, *, bounded_load: float = 0.0) -> Policy:
    return consistent_hash(context, bounded_load=bounded_load)


def _peak_ewma(context: PolicyContext, *, decay: float = DECAY) -> Policy:
    return PeakEwma(context, decay=decay)


BUILT_IN: Final[dict[str, Factory]] = {
    "consistent_hash": _consistent_hash,
    "ip_hash": IpHash,
    "least_connections": LeastConnections,
    "peak_ewma": _peak_ewma,
    "power_of_two": PowerOfTwo,
    "random": WeightedRandom,
    "round_robin": RoundRobin,
}


@dataclass(frozen=True, slots=True)
class Registered:
    """One policy: `policy` is the class that `factory` builds without options."""

    factory: Factory
    policy: type[Policy]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """One policy for display: `origin` is the package that provides it, `error` why it is unusable."""

    name: str
    origin: str
    summary: str = ""
    options: tuple[Option, ...] = ()
    error: str = ""


def names() -> list[str]:
    """Every policy that has a name, built in or installed, in alphabetical order."""
    return sorted({*BUILT_IN, *(entry.name for entry in plugins.installed())})


def summary(name: str) -> str:
    """One line on a policy."""
    return _summary(_known(name).policy)


def needs_key(name: str) -> bool:
    """Whether a policy uses the request's hash key. Raises SettingsError for an unknown policy."""
    return _known(name).policy.needs_key


def key_source(name: str) -> str | None:
    """The key source that overrides HASH_KEY; None if HASH_KEY decides or no key is needed."""
    return _known(name).policy.key_source


def problem(name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with this policy and its options, or None.

    Returns the setting, `policy` or `policy_options`, and the end of a sentence that begins with its value.
    """
    try:
        found = _resolve(name)
    except PluginError as error:
        return "policy", str(error)
    try:
        built = _policy(found.factory, _trial_context(), values(name, found.options, options))
        _try_without_candidates(built)
    except OptionError as error:
        return "policy_options", str(error)
    except ValueError as error:
        return "policy_options", f"is refused: {error}"
    except PluginError as error:
        return "policy", str(error)
    return None


def build(name: str, options: Mapping[str, Any], context: PolicyContext) -> Policy:
    """A new policy object. Raises SettingsError if there is a `problem`."""
    found = problem(name, options)
    if found is not None:
        raise SettingsError([f"{found[0]}: {name if found[0] == 'policy' else dict(options)} {found[1]}"])
    registered = _resolve(name)
    return registered.factory(context, **values(name, registered.options, options))


def listing() -> list[Listed]:
    """Every named policy, built-in ones first. A policy that cannot be loaded is listed with its error."""
    listed = [_listed(name, "built in", factory) for name, factory in sorted(BUILT_IN.items())]
    taken = dict.fromkeys(BUILT_IN, "built in")
    for entry in plugins.installed():
        origin = plugins.origin(entry)
        if entry.name in taken:
            listed.append(Listed(entry.name, origin, error=f"the one that is {taken[entry.name]} is used"))
            continue
        taken[entry.name] = f"from {origin}"
        try:
            listed.append(_listed(entry.name, origin, plugins.load(entry)))
        except PluginError as error:
            listed.append(Listed(entry.name, origin, error=str(error)))
    return listed


def _listed(name: str, origin: str, factory: object) -> Listed:
    registered = _registered(factory)
    return Listed(name, origin, _summary(registered.policy), registered.options)


def _summary(policy: type[Policy]) -> str:
    return policy.summary or (policy.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _known(name: str) -> Registered:
    try:
        return _resolve(name)
    except PluginError as error:
        raise SettingsError([f"policy: {name} {error}"]) from error


def _resolve(name: str) -> Registered:
    if name in BUILT_IN:
        return _registered(BUILT_IN[name])
    if ":" in name:
        return _registered(plugins.attribute(name))
    # Installed packages are searched only here, so built-in policies never wait for that.
    for entry in plugins.installed():
        if entry.name == name:
            return _registered(plugins.load(entry))
    known = names()
    close = get_close_matches(name, known, n=1)
    if close:
        remedy = f"did you mean {close[0]}?"
    elif "." in name:
        remedy = f"write your own as module:attribute, {':'.join(name.rsplit('.', 1))}"
    else:
        remedy = f"write {', '.join(known[:-1])}, {known[-1]}, or module:attribute for one of your own"
    raise PluginError(f"is not a policy; {remedy}")


def _registered(factory: object) -> Registered:
    """Raises PluginError if `factory` is not a policy factory."""
    if not callable(factory):
        raise PluginError(f"is not a policy but {type(factory).__name__}; name a subclass of Policy")
    if isinstance(factory, type) and not issubclass(factory, Policy):
        raise PluginError("is not a policy; it must be a subclass of balancer.policies.base.Policy")
    try:
        options = declared(factory)
    except DeclarationError as error:
        raise PluginError(str(error)) from error
    if isinstance(factory, type):
        return Registered(factory, factory, options)
    try:
        return Registered(factory, type(_policy(factory, _trial_context(), {})), options)
    except ValueError as error:
        raise PluginError(f"refuses its own defaults: {error}") from error


def _try_without_candidates(policy: Policy) -> None:
    """An empty pool is common (names that do not resolve yet) and easily forgotten. Raises PluginError."""
    try:
        policy.rebuild([])
        picked = policy.pick(0, ())
    except Exception as error:
        raise PluginError(f"fails without candidates: {plugins.described(error)}; fix it") from error
    if picked is not None:
        raise PluginError("picks something without candidates; it must return None")


def _policy(factory: Factory, context: PolicyContext, options: dict[str, Any]) -> Policy:
    """Raises ValueError if the factory refuses an option, PluginError if the factory itself fails."""
    try:
        built: object = factory(context, **options)
    except ValueError:
        raise
    except Exception as error:
        raise PluginError(f"cannot be built: {plugins.described(error)}; fix it") from error
    if not isinstance(built, Policy):
        raise PluginError(f"builds {type(built).__name__}, not a policy; it must return a Policy")
    return built


def _trial_context() -> PolicyContext:
    """The context for checking whether a policy can be built. It never picks anything."""
    return PolicyContext(Random(0), 0, SystemClock())
