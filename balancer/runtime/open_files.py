"""The open-file limit (L6): raised at start, for the supervisor and the workers that inherit it."""

import resource

# For what is no client: listeners, idle upstream connections, and surplus clients on their way out (up to
# 100 a worker, see `proxy.client_connection`).
RESERVE = 200


# Fewer clients than this are a handful of browsers, or a proxy's idle connections: nobody wants that unasked.
FEW = 1000
_ENDLESS = 1 << 30


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one, and give what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def hard_limit() -> int:
    """What `raise_limit` would give."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def lowered(wanted: int, affordable: int, open_files: int) -> str:
    """The sentence on a limit that allows no more than `affordable` of the client connections wanted."""
    return (
        f"the open-file limit is {open_files}: BALANCER_LIMITS__MAX_CONNECTIONS is lowered from {wanted} to "
        f"{affordable}; to keep it, raise the hard limit (ulimit -Hn, or ulimits: nofile: of the container) "
        f"to {2 * wanted}"
    )


def is_alarming(affordable: int, asked_for: bool) -> bool:
    """Whether that is a warning, to who has asked for more, and where few are left; else it is news."""
    return asked_for or affordable < FEW


def affordable_connections(max_connections: int, open_files: int, workers: int) -> int:
    """How many client connections the limit allows: each needs a descriptor for itself and one upstream.

    At least one for each worker, so that the workers' shares add up to it.
    """
    if open_files >= 2 * max_connections:
        return max_connections
    return min(max_connections, max(workers, (open_files - RESERVE) // 2))
