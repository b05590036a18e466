"""What the running program hands over to the one that replaces it (L7): listening sockets, as descriptors
that a child inherits, and what must not be forgotten.

Both ends of a socket pair are described here: the old program sends one line, the new one answers with one.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from balancer.config.address import Address
from balancer.errors import OperatorError, SettingsError, StartupError
from balancer.runtime.kept import Kept
from balancer.runtime.listening import Listening
from balancer.runtime.plan import Plan
from balancer.runtime.sockets import open_admin
from balancer.spec.part import DecodeError, Decoder, Part, encode, replaced

_PIECE = 1 << 16
_MOST_PROBLEMS = 20  # in an answer; all of them go to stderr


class HandedListener(Part, frozen=True, kw_only=True):
    """An address as in the settings, and the descriptors of its sockets by slot."""

    address: Address
    descriptors: tuple[int, ...]


def handed(listening: Listening) -> tuple[HandedListener, ...]:
    """These sockets, for a program that replaces this one."""
    return tuple(
        HandedListener(address=address, descriptors=numbers)
        for address, numbers in zip(listening.wanted, listening.by_listener, strict=True)
    )


class Inheritance(Part, frozen=True, kw_only=True):
    """`listeners` as in `Listening`; `admin` is the admin listener; `via` is the instance's name in Via;
    `kept` as in the file of `STATE__FILE`, with ejections."""

    listeners: tuple[HandedListener, ...]
    admin: HandedListener
    via: str
    kept: Kept


class Taken(Part, frozen=True, kw_only=True, tag="taken"):
    """The new program serves at these addresses of the settings."""

    listens: tuple[Address, ...]


class Failed(Part, frozen=True, kw_only=True, tag="failed"):
    """It cannot serve: one sentence."""

    error: str


class Successor:
    """This process replaces another one: `inheritance` is what it gets."""

    def __init__(self, channel: socket.socket) -> None:
        """Raises StartupError if there is nothing to inherit."""
        self._channel = channel
        received = b""
        while not received.endswith(b"\n"):
            piece = channel.recv(_PIECE)
            if not piece:
                raise StartupError("the program to be replaced is gone")
            received += piece
        try:
            self.inheritance = Decoder[Inheritance](Inheritance).decode(received)
        except DecodeError as error:
            raise StartupError(f"the program to be replaced is of another kind: {error}") from None

    @classmethod
    @contextmanager
    def on(cls, descriptor: int) -> "Iterator[Successor]":
        """With the socket pair's end that was passed. If the start fails inside, the old program gets to know
        why."""
        os.set_inheritable(descriptor, False)
        with socket.socket(fileno=descriptor) as channel:
            successor = cls(channel)
            try:
                yield successor
            except OperatorError as error:
                problems = error.problems if isinstance(error, SettingsError) else [str(error)]
                more = len(problems) - _MOST_PROBLEMS
                said = "; ".join(problems[:_MOST_PROBLEMS])
                successor.failed(f"{said}; and {more} more" if more > 0 else said)
                raise

    def takes(self, plan: Plan) -> tuple[Plan, Listening, socket.socket]:
        """The plan with what this instance goes on to be called, its listeners, and the admin listener: what
        is inherited, as far as the addresses are the same. Raises StartupError if others are not
        available."""
        listeners = self.inheritance.listeners
        inherited = Listening(
            [each.address for each in listeners], [_sockets(each.descriptors) for each in listeners]
        )
        (admin,) = _sockets(self.inheritance.admin.descriptors)
        worker = plan.instance.worker
        if worker.via and self.inheritance.via:
            worker = replaced(worker, via=self.inheritance.via)
        listening = inherited.changed(plan.listens, worker.workers)
        inherited.close_unless_in(listening)
        if self.inheritance.admin.address != plan.admin_listen:
            admin.close()
            admin = open_admin(plan.admin_listen)
        return replaced(plan, instance=replaced(plan.instance, worker=worker)), listening, admin

    def serves(self, listens: Sequence[Address]) -> None:
        """Tell the old program to finish."""
        self._tell(Taken(listens=tuple(listens)))

    def failed(self, error: str) -> None:
        """Tell the old program to go on."""
        self._tell(Failed(error=error))

    def _tell(self, part: Taken | Failed) -> None:
        try:
            self._channel.sendall(encode(part) + b"\n")
        except OSError:
            return  # it is gone: there is nobody to tell


def decode_answer(line: bytes) -> Taken | Failed:
    """What the new program has said. Raises DecodeError."""
    return Decoder[Taken | Failed](Taken | Failed).decode(line)


def _sockets(descriptors: Sequence[int]) -> list[socket.socket]:
    made = []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        made.append(sock)
    return made
