"""The interpreter of a worker (L7): a fresh process, and our end of its control channel.

The first one may be started before the settings are known, so that its imports take place at the same time as
ours. It gets the other descriptors over the channel, before the first message.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from balancer.runtime import signals

MOST_SENT = 253  # descriptors in one message over a socket: SCM_MAX_FD of the kernel
_MODULE = "balancer.runtime.worker"


class Interpreter:
    """A running process, and the socket whose other end it has."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
        self.process = process
        self.channel = channel


class Interpreters:
    """Starts interpreters, the first one early if `warm_up` is called."""

    def __init__(self) -> None:
        self._early: Interpreter | None = None

    def warm_up(self) -> None:
        """Start one that loads what a worker needs, and waits until it is taken."""
        try:
            self._early = started(())
        except OSError:
            return  # reported by `take`, if it still fails then

    def take(self, descriptors: Sequence[int]) -> Interpreter:
        """One that has these descriptors, of the segment and the listeners. Raises OSError."""
        if len(descriptors) > MOST_SENT:
            self.close()
        early = self._early
        if early is not None:
            try:
                socket.send_fds(early.channel, [b"."], list(descriptors))
            except OSError:  # it has died
                self.close()
            else:
                self._early = None
                return early
        return started(descriptors)

    def close(self) -> None:
        """End the early one, if it has not been taken."""
        if self._early is not None:
            self._early.channel.close()
            self._early.process.kill()
            self._early.process.wait()
            self._early = None


def started(descriptors: Sequence[int]) -> Interpreter:
    """A new one; it waits for descriptors if there are none here. Raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        passed = [theirs.fileno(), *descriptors]
        try:
            with signals.held():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE, *map(str, passed)],
                    pass_fds=passed,
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # stdout is the access log's
                    env=worker_environment(os.environ),
                    # Its own session: an INT typed at the terminal goes only to the supervisor.
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
    return Interpreter(process, ours)


def receive(channel: socket.socket) -> list[int]:
    """In the worker: wait for the descriptors of `Interpreters.take`; [] if the supervisor is gone."""
    data, descriptors, _, _ = socket.recv_fds(channel, 1, MOST_SENT)
    return descriptors if data else []


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker, without our settings, which may be secret: they come over the channel.

    It searches for modules where the supervisor does (`-P` excludes the working directory, unless it is first
    in the supervisor's path too), so that the worker finds the modules that the supervisor has checked.
    """
    inherited = {name: value for name, value in environ.items() if not name.startswith("BALANCER_")}
    if not sys.flags.safe_path:
        places = [os.path.abspath(sys.path[0]), *filter(None, [environ.get("PYTHONPATH")])]
        inherited["PYTHONPATH"] = os.pathsep.join(places)
    return inherited
