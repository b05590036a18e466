"""IP hash: consistent hashing by the client's address."""

from typing import ClassVar

from mypy_extensions import mypyc_attr

from balancer.policies.consistent_hash import ConsistentHash


@mypyc_attr(allow_interpreted_subclasses=True)
class IpHash(ConsistentHash):
    """One client address, one upstream; ignores the setting HASH_KEY."""

    key_source: ClassVar[str | None] = "client_ip"
    summary: ClassVar[str] = "equal client addresses to the same upstream"

    __slots__ = ()
