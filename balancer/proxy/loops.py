"""Requests that come back to the balancer that sent them: an upstream, or a proxy behind one, leads here.

A loop is recognised at the first return, by the instance's own name in Via. It is answered with 508, and
that response on its way back shows which upstream leads here.
"""

from collections.abc import Collection
from typing import Final

from balancer.clock import Clock, Seldom
from balancer.errors import LOOP_DETECTED
from balancer.messages import CameBack, Tell

STATUS: Final = LOOP_DETECTED.status
TOLD_EVERY: Final = 60.0  # seconds; anybody can send a Via with our name, once an app has revealed it


class Loops:
    """`name` is the instance's name in Via, "" if it writes none: then loops are not recognised."""

    __slots__ = ("_name", "_seldom", "_tell")

    def __init__(self, name: str, clock: Clock, tell: Tell) -> None:
        self._name = name.encode()
        self._tell = tell
        self._seldom = Seldom(clock, TOLD_EVERY)

    @property
    def detail(self) -> str:
        """The detail in the body of the 508, which `leads_back` looks for."""
        return f"its Via names {self._name.decode()}"

    def closes(self, balancers: Collection[bytes], pool: str, peer: str) -> bool:
        """Whether a request from the address `peer`, whose Via names these `balancers`, has been here before.
        If so, it is reported, at most once per TOLD_EVERY."""
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
        """Whether a 508 from `upstream` is this instance's own: then the upstream leads here, and that is
        reported.

        A 508 of another balancer is about the request: any client that knows its name could provoke it.
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
