"""One's own sources (L5): entry points of the group `balancer.discovery`, whose names are schemes."""

from balancer.config.finding_specs import OWN
from balancer.discovery.base import MemberSource
from balancer.policies import plugins
from balancer.policies.plugins import PluginError, described


def problem(url: str) -> str | None:
    """What is wrong with an entry, as the end of a sentence that begins with it; None if nothing is."""
    try:
        build(url)
    except PluginError as error:
        return str(error)
    return None


def build(url: str) -> MemberSource:
    """A new source for an entry. Blocks while modules are imported. Raises PluginError."""
    scheme = url.partition("://")[0]
    providers = [entry for entry in plugins.installed(OWN) if entry.name == scheme]
    if not providers:
        raise PluginError(
            f"has the scheme {scheme}://, which no installed package provides; install it again"
        )
    origins = sorted({plugins.origin(entry) for entry in providers})
    if len(origins) > 1:
        raise PluginError(f"has a scheme that {' and '.join(origins)} provide; uninstall one of them")
    entry = providers[0]
    made = plugins.load(entry)
    if not (isinstance(made, type) and issubclass(made, MemberSource)):
        raise PluginError(
            f"is for {entry.value} of {origins[0]}, which is no source; it must be a subclass of "
            "balancer.discovery.base.MemberSource"
        )
    try:
        return made(url)
    except ValueError as error:
        raise PluginError(str(error) or "is refused") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"cannot be used: {described(error)}; fix {entry.value}") from error
