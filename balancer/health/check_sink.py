"""What active checks check, and where their results go (L5)."""

from typing import Protocol, TypeVar


class Checked(Protocol):
    """An upstream that is checked. `address` and `port` are read again for each check; they may change."""

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
        """The port on which it accepts requests."""

    @property
    def server_name(self) -> str:
        """Whom it must prove to be, by TLS; "" for plain HTTP."""


UpstreamT = TypeVar("UpstreamT", bound=Checked)
UpstreamT_contra = TypeVar("UpstreamT_contra", bound=Checked, contravariant=True)


class CheckSink(Protocol[UpstreamT_contra]):
    """Gets the results, which change the state of upstreams. Its methods may add and remove checked ones."""

    def failing(self, upstream: UpstreamT_contra, why: str) -> None:
        """FALL checks in a row have failed; one is enough if none has passed before."""

    def passing(self, upstream: UpstreamT_contra, why: str) -> None:
        """RISE checks in a row have passed after it was failing; one is enough if none had passed before."""

    def draining(self, upstream: UpstreamT_contra, on: bool, why: str) -> None:
        """Its check announces that it wants no new work (`on`), or no longer announces it."""

    def passed_first(self, upstream: UpstreamT_contra, what: str) -> None:
        """A check has passed for the first time, with `what`. If checks failed before, `passing` follows."""

    def unanswered(self, upstream: UpstreamT_contra, why: str) -> None:
        """It is failing, and this check got no answer at all."""

    def served(self, upstream: UpstreamT_contra) -> int:
        """The number of live responses below 500 from this upstream so far."""

    def answers(self, upstream: UpstreamT_contra) -> int:
        """The number of live responses from this upstream so far, whatever their status."""

    def silent(self, upstream: UpstreamT_contra, since_ns: int) -> None:
        """It is failing, and has answered nothing since `since_ns`, while another upstream of its pool passed
        a check; 0 if that is not so."""

    def is_busy(self, upstream: UpstreamT_contra) -> bool:
        """Whether live requests are in flight at it."""
