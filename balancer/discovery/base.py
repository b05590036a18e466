"""The interface of one's own sources of upstreams (L5): docs/discovery.md shows how to write one."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable


class MemberSource(ABC):
    """Finds the upstreams of one entry of UPSTREAMS, in the supervisor's event loop.

    It must not block: the same loop starts workers, and answers the admin API. What blocks belongs into
    `asyncio.to_thread`.
    """

    def __init__(self, url: str) -> None:
        """`url` is the entry as it is written, `consul://web?tag=v2`. A ValueError refuses it when the
        settings are checked: its text is the end of a sentence that begins with the entry."""
        self.url = url

    @abstractmethod
    def watch(self) -> AsyncIterator[Iterable[str]]:
        """An async generator. It yields all upstreams now, and again after each change, written as in
        UPSTREAMS, with IP addresses: `10.0.0.2:8000?weight=2`, `https://[fd00::2]:8443`. It goes on until it
        is cancelled. An exception leaves the last upstreams as they are; it is logged, and a new source is
        made and watched a little later."""
