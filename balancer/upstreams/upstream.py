"""One address that requests are sent to, as the data plane of one worker sees it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11


class Upstream:
    """An upstream of one pool.

    `id` is its name in the settings and stays when its `host` (an IP address, empty while a name has not
    been resolved) changes. `inflight` is this worker's, exact; `remote_inflight` what the other workers had
    a few milliseconds ago. `cells` is its row in the stats segment (columns in `telemetry.columns`).
    """

    __slots__ = ("authority", "cells", "effective_weight", "host", "id", "inflight", "port",
                 "remote_inflight", "weight")  # fmt: skip

    def __init__(self, id: str, host: str, port: int, weight: int, cells: memoryview[int]) -> None:
        self.id = id
        self.port = port
        self.weight = weight
        self.effective_weight = float(weight)
        self.inflight = 0
        self.remote_inflight = 0
        self.cells = cells
        self.set_host(host)

    def set_host(self, host: str) -> None:
        """Its address is `host` from now on."""
        self.host = host
        self.authority = f"[{host}]:{self.port}".encode() if ":" in host else f"{host}:{self.port}".encode()

    def is_eligible(self) -> bool:
        """Whether policies may pick it: it has an address and a share of the load."""
        return self.host != "" and self.effective_weight > 0

    def __repr__(self) -> str:
        return f"<Upstream {self.id} {self.host}:{self.port} inflight={self.inflight}>"
