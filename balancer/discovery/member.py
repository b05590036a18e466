"""What discovery finds (L5): an upstream that is not named in the settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """One upstream of a pool: `id` is `10.0.0.2:8000` or `[fd00::2]:8000`, `host` and `address` its IP.
    `server_name`: whom it must prove to be, by TLS; "" for plain HTTP."""

    id: str
    host: str
    port: int
    weight: int
    address: str
    backup: bool = False
    server_name: str = ""
