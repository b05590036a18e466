"""The authoritative state of every pool and upstream (L6), in the supervisor; each change has a revision."""

from dataclasses import dataclass, field
from typing import Any

from balancer.errors import BalancerError
from balancer.runtime.channel import Message


@dataclass(slots=True)
class UpstreamState:
    """One upstream: `host` as the settings have it, `address` the IP address it has now, "" while unknown."""

    id: str
    host: str
    port: int
    weight: int
    row: int
    address: str


@dataclass(slots=True)
class PoolState:
    """One upstream pool; `settings` is what workers are told of it besides its upstreams."""

    name: str
    row: int
    settings: dict[str, Any]
    upstreams: dict[str, UpstreamState] = field(default_factory=dict)


class Fleet:
    """All pools. Changes go through its methods; each gives the message to broadcast, None for no change."""

    def __init__(self, pools: list[PoolState]) -> None:
        self.revision = 1
        self.pools = {pool.name: pool for pool in pools}

    def set_address(self, pool: str, upstream_id: str, address: str) -> Message | None:
        """An upstream's name has a new address."""
        try:
            upstream = self.pools[pool].upstreams[upstream_id]
        except KeyError:
            raise BalancerError(f"no upstream {upstream_id} in pool {pool}") from None
        if upstream.address == address:
            return None
        upstream.address = address
        self.revision += 1
        return {
            "type": "upstream_address",
            "revision": self.revision,
            "pool": pool,
            "id": upstream_id,
            "host": address,
        }

    def upstreams(self) -> list[tuple[PoolState, UpstreamState]]:
        """Every upstream with its pool, in the order of the settings."""
        return [(pool, upstream) for pool in self.pools.values() for upstream in pool.upstreams.values()]

    def snapshot(self) -> list[dict[str, Any]]:
        """The pools as the `start` message carries them."""
        return [
            {
                "name": pool.name,
                "row": pool.row,
                **pool.settings,
                "upstreams": [
                    {"id": u.id, "host": u.address, "port": u.port, "weight": u.weight, "row": u.row}
                    for u in pool.upstreams.values()
                ],
            }
            for pool in self.pools.values()
        ]
