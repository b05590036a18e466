"""The bounds of the data plane: how long, how large, how many. Plain numbers, built once per worker."""

from dataclasses import dataclass

_PATIENCE_NS = 60_000_000_000  # where no shorter idle timeout is set
FOREVER_NS = 1 << 62  # a deadline that never comes: what a timeout of 0 means


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In nanoseconds; FOREVER_NS where off."""

    first_byte_ns: int  # the response's head: from the request's start, or its body's last byte
    idle_ns: int  # between two pieces of a body
    total_ns: int  # a whole exchange
    request_head_ns: int  # a head, from its first byte (or from the accept)
    client_idle_ns: int  # a keep-alive client between requests
    tunnel_idle_ns: int  # a tunnel in which neither side speaks

    @property
    def patience_ns(self) -> int:
        """How long a client may take nothing of what is written to it."""
        return min(self.idle_ns, _PATIENCE_NS)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes; `body_bytes` 0 means no bound. `max_connections` is this worker's share.
    `connections_per_client` is for each worker; 0 means no bound."""

    max_connections: int
    connections_per_client: int
    header_bytes: int
    header_count: int
    uri_bytes: int
    body_bytes: int


def timeout_ns(seconds: float) -> int:
    """A timeout of the settings (0 = off) in nanoseconds."""
    return round(seconds * 1e9) if seconds else FOREVER_NS
