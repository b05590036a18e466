"""Whom active checks look at, and where their results go (L5)."""

from typing import Protocol, TypeVar


class Checked(Protocol):
    """An upstream that is checked. `address` and `port` are read anew for each check; they may change."""

    @property
    def pool(self) -> str:
        """The name of its pool."""

    @property
    def id(self) -> str:
        """Its name in the settings; unique in its pool."""

    @property
    def address(self) -> str:
        """Its IP address; "" while it is unknown, and then it is not checked."""

    @property
    def port(self) -> int:
        """Where it takes requests."""


UpstreamT = TypeVar("UpstreamT", bound=Checked)
UpstreamT_contra = TypeVar("UpstreamT_contra", bound=Checked, contravariant=True)


class CheckSink(Protocol[UpstreamT_contra]):
    """Through which results change the state of upstreams. They may add and remove upstreams to check."""

    def failing(self, upstream: UpstreamT_contra, why: str) -> None:
        """FALL checks in a row have failed; or the first one, and all since."""

    def passing(self, upstream: UpstreamT_contra, why: str) -> None:
        """RISE checks in a row have passed, after it was failing; or the first one that ever did."""

    def draining(self, upstream: UpstreamT_contra, on: bool, why: str) -> None:
        """Its check announces that it wants no new work, or no longer does so."""

    def passed_first(self, upstream: UpstreamT_contra, what: str) -> None:
        """Its first check has passed: `what` came. Where others failed before, `passing` follows."""

    def unanswered(self, upstream: UpstreamT_contra, why: str) -> None:
        """It is failing, and this check had no answer at all."""

    def served(self, upstream: UpstreamT_contra) -> int:
        """Live responses below 500 of this upstream so far."""

    def answers(self, upstream: UpstreamT_contra) -> int:
        """Live responses of this upstream so far, whatever their status."""

    def silent(self, upstream: UpstreamT_contra, since_ns: int) -> None:
        """It is failing, and has answered nobody since then, while another one of its pool passed a check;
        0: that is not so."""

    def is_busy(self, upstream: UpstreamT_contra) -> bool:
        """Whether live requests are in flight there."""
