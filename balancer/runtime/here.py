"""Settings that this machine would refuse at start (L7), as far as this is visible without a start."""

from balancer.config.loader import Loaded
from balancer.runtime.open_files import affordable_connections, hard_limit, is_alarming, lowered
from balancer.runtime.sockets import why_not_here


def troubles(loaded: Loaded) -> list[str]:
    """One sentence for each. Ports in use are not reported: the running balancer may have them."""
    settings = loaded.settings
    addresses = [
        settings.listen,
        settings.admin_listen,
        *([settings.tls.listen] if settings.tls.is_on else []),
    ]
    found = [why_not_here(address) for address in addresses]
    wanted, open_files = settings.limits.max_connections, hard_limit()
    affordable = affordable_connections(wanted, open_files, settings.workers)
    asked_for = ("limits", "max_connections") in loaded.origins
    if affordable < wanted and is_alarming(affordable, asked_for):
        found.append(lowered(wanted, affordable, open_files, settings.workers))
    return [f"on this machine: {text}" for text in found if text]
