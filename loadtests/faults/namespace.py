"""A network namespace for one replica, so that its packets can be dropped like those of a dead machine."""

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

from loadtests.errors import BenchError

_PROGRAMS = ("ip", "iptables")
_LIMIT = 10.0  # seconds for one command


class Namespace:
    """A context with a namespace joined to ours by a pair of virtual interfaces, removed at its end.

    The addresses are from the net that RFC 2544 reserves for measurements; the process id separates runs.
    """

    def __init__(self) -> None:
        number = os.getpid() % 0x4000
        net = f"198.{18 + (number >> 13)}.{number >> 5 & 0xFF}"
        self._name = f"faults-{number}"
        self._ours, self._theirs = f"flt{number}a", f"flt{number}b"
        self._our_address = f"{net}.{(number & 0x1F) * 8 + 1}"
        self.address = f"{net}.{(number & 0x1F) * 8 + 2}"

    def __enter__(self) -> Self:
        _run("ip", "netns", "add", self._name)
        try:
            _run("ip", "link", "add", self._ours, "type", "veth", "peer", self._theirs, "netns", self._name)
            _run("ip", "address", "add", f"{self._our_address}/29", "dev", self._ours)
            _run("ip", "link", "set", self._ours, "up")
            self._inside("ip", "address", "add", f"{self.address}/29", "dev", self._theirs)
            self._inside("ip", "link", "set", self._theirs, "up")
            self.swallow(True)  # a machine without this table is detected here, not in the middle of a run
            self.swallow(False)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The interfaces first: those of a deleted namespace disappear only later.
        for command in (["ip", "link", "delete", self._ours], ["ip", "netns", "delete", self._name]):
            subprocess.run(command, check=False, capture_output=True, timeout=_LIMIT)

    @property
    def prefix(self) -> list[str]:
        """The prefix of a command that runs inside."""
        return ["ip", "netns", "exec", self._name]

    def swallow(self, begin: bool) -> None:
        """Silently drop every incoming packet, or stop doing so."""
        self._inside("iptables", "-I" if begin else "-D", "INPUT", "-j", "DROP")

    def _inside(self, *command: str) -> None:
        _run(*self.prefix, *command)


def are_possible() -> bool:
    """Whether namespaces can be made here: as root, with the programs installed, and permitted."""
    if os.geteuid() != 0 or any(shutil.which(one) is None for one in _PROGRAMS):
        return False
    try:
        with Namespace():
            return True
    except BenchError:
        return False


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
