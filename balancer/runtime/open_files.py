"""The open-file limit (L6): raised at start, for the supervisor and the workers that inherit it."""

import resource

# For what is no client: listeners, idle upstream connections, and surplus clients on their way out (up to
# 100 a worker, see `proxy.client_connection`).
RESERVE = 200


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one, and give what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def affordable_connections(max_connections: int, open_files: int, workers: int) -> int:
    """How many client connections the limit allows: each needs a descriptor for itself and one upstream.

    At least one for each worker, so that the workers' shares add up to it.
    """
    if open_files >= 2 * max_connections:
        return max_connections
    return min(max_connections, max(workers, (open_files - RESERVE) // 2))
