"""Requests that come back to the balancer that sent them: an upstream, or a proxy behind one, leads here.

Recognised by the instance's own name in Via, at the first return. Answered with 508, which on its way back
shows who it was that led here.
"""

from collections.abc import Collection

from balancer.clock import Clock, Seldom
from balancer.errors import LOOP_DETECTED
from balancer.messages import CameBack, Tell

STATUS = LOOP_DETECTED.status
TOLD_EVERY = 60.0  # seconds; anybody can send a Via with our name, once an app has shown it


class Loops:
    """`name` is the instance's in Via, "" where it says none: then nothing is recognised."""

    __slots__ = ("_name", "_seldom", "_tell")

    def __init__(self, name: str, clock: Clock, tell: Tell) -> None:
        self._name = name.encode()
        self._tell = tell
        self._seldom = Seldom(clock, TOLD_EVERY)

    @property
    def detail(self) -> str:
        """What the 508 says besides, and `is_ours` finds again."""
        return f"its Via names {self._name.decode()}"

    def closes(self, balancers: Collection[bytes], pool: str, peer: str) -> bool:
        """Whether a request whose Via names these `balancers`, from the address `peer`, has been here before.
        People are told, now and then."""
        if self._name not in balancers:
            return False
        if self._seldom.may(pool):
            self._tell(
                CameBack(
                    pool=pool,
                    upstream=None,
                    text=f"a request looped back to this balancer from {peer} ({self.detail}) and got "
                    "508: an upstream, or a proxy behind one, points here",
                )
            )
        return True

    def leads_back(self, pool: str, upstream: str, body: bytes) -> bool:
        """Whether a response of `upstream` with 508 is this instance's own: then it leads here. People are
        told.

        Another's 508 is about its request: whoever knows that balancer's name could have provoked it.
        """
        if not self._name or self._name not in body:
            return False
        if self._seldom.may((pool, upstream)):
            self._tell(
                CameBack(
                    pool=pool,
                    upstream=upstream,
                    text=f"{upstream} points back to this balancer, so its requests get 508; correct "
                    "its address in BALANCER_UPSTREAMS, or the proxy there",
                )
            )
        return True
