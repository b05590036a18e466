"""The demo's child processes: started, watched, and ended by pid (L7)."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running process; what it prints is in the file `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def last_words(self) -> str:
        """The end of what it printed, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-10:]
        return "\n".join(f"  {line}" for line in lines)


class Children:
    """Every process of the demo. None of them outlives `stop`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []

    def start_replica(self, name: str, delay: float) -> tuple[Child, str]:
        """Start an app replica on a free loopback port; returns it and its `host:port`.

        The socket listens before the process runs: early connections wait for it, they are not refused.
        """
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            host, port = listener.getsockname()
            argv = ["-m", "balancer.demo.replica", name, str(delay), str(listener.fileno())]
            child = self._start(name, argv, os.environ, descriptors=(listener.fileno(),))
        return child, f"{host}:{port}"

    def start_balancer(self, settings: Mapping[str, str]) -> Child:
        """Start `balancer run` with these settings and no others."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
        return self._start("balancer", ["-m", "balancer", "run"], {**inherited, **settings})

    async def stop(self) -> None:
        """End all and wait for each: TERM, last started first, and KILL after STOP_SECONDS."""
        for child in reversed(self._children):
            child.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(child.process.wait, STOP_SECONDS)
            child.process.kill()  # no effect on one that has already ended
            child.process.wait()
            if child.process.stdin is not None:
                child.process.stdin.close()
        self._children.clear()

    def kill(self) -> None:
        """End all at once; `stop` still has to be called."""
        for child in self._children:
            child.process.kill()

    def _start(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> Child:
        log = self._directory / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *argv],
                stdin=subprocess.PIPE,  # its EOF tells a replica that the demo has ended
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C reaches only the demo, which ends its children in order
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child
