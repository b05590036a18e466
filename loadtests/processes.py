"""The processes of a measurement: started on a core, waited for, and all ended by pid."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtests.cpu import running_tree
from loadtests.errors import BenchError

START_SECONDS = 20.0
STOP_SECONDS = 10.0


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Processes:
    """A context that ends every process started through it, and its children, however the context ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave processes behind; this takes at most STOP_SECONDS.
        previous = [(one, signal.signal(one, signal.SIG_IGN)) for one in (signal.SIGINT, signal.SIGTERM)]
        try:
            self._stop_all()
        finally:
            for one, handler in previous:
                signal.signal(one, handler)

    def start(
        self, name: str, argv: Sequence[str], core: int | None, environment: Mapping[str, str] = os.environ
    ) -> int:
        """Start `argv` on one core, or on any, with its output in a file of the directory; returns its pid.

        Its child processes inherit the core.
        """
        pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                [*pinned, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C reaches only us, and we end them in order
            )
        self._running.append(process)
        return process.pid

    def run(self, name: str, argv: Sequence[str], core: int, limit: float) -> str:
        """Run `argv` on one core to its end and return its standard output."""
        return self.wait(name, self.start(name, argv, core), limit)

    def wait(self, name: str, pid: int, limit: float) -> str:
        """Wait at most `limit` seconds for a process to succeed, and return its output; end a late one."""
        process = self._of(pid)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            self.end(pid, signal.SIGKILL)
            raise BenchError(f"{name} did not end within {limit:.0f} s") from None
        self._running.remove(process)
        output = self._log(name).read_text(errors="replace")
        if process.returncode != 0:
            raise BenchError(f"{name} exited with {process.returncode}: {output.strip()[-500:]}")
        return output

    def wait_for_line(self, name: str, pid: int, start: str) -> str:
        """Wait until a line of the output begins with `start`; returns the rest of that line."""
        process = self._of(pid)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = process.poll() is not None  # before the read, so that its last output is not missed
            for line in self._log(name).read_text(errors="replace").splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line.removeprefix(start).strip()
            if ended:
                raise BenchError(f"{name} exited with {process.returncode} at the start:{self._tail(name)}")
            time.sleep(0.01)
        raise BenchError(f"{name} did not print {start!r} within {START_SECONDS:.0f} s:{self._tail(name)}")

    def end(self, pid: int, number: signal.Signals) -> None:
        """End a process by a signal that certainly ends it, and wait until it has ended."""
        process = self._of(pid)
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"process {pid} did not end by {number.name}") from None
        self._running.remove(process)

    def wait_for_body(
        self, name: str, pid: int, port: int, length: int | None, tls: ssl.SSLContext | None = None
    ) -> float:
        """Wait until `port` answers 200 with `length` bytes (None: any), and return how long that took.

        `BenchError` with the log if it never does.
        """
        process = self._of(pid)
        begin = time.monotonic()
        deadline = begin + START_SECONDS
        seen = "no connection"
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BenchError(f"{name} exited with {process.returncode} at the start:{self._tail(name)}")
            try:
                seen = _get(port, tls)
            except (OSError, http.client.HTTPException) as error:
                seen = str(error) or type(error).__name__
            if seen.startswith("200 ") if length is None else seen == f"200 with {length} bytes":
                return time.monotonic() - begin
            time.sleep(0.01)
        raise BenchError(
            f"{name} did not answer 200 with {length} bytes within {START_SECONDS:.0f} s "
            f"(last response: {seen}):{self._tail(name)}"
        )

    def require_running(self, name: str, pid: int) -> None:
        """`BenchError` with the log if the process has ended."""
        process = self._of(pid)
        if process.poll() is not None:
            raise BenchError(
                f"{name} ended during the benchmark with {process.returncode}:{self._tail(name)}"
            )

    def _of(self, pid: int) -> "subprocess.Popen[bytes]":
        return next(one for one in self._running if one.pid == pid)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self._log(name).read_text(errors="replace").splitlines()[-15:]
        return "".join(f"\n  {line}" for line in lines) if lines else " it printed nothing"

    def _stop_all(self) -> None:
        trees = [stat.pid for one in self._running if one.poll() is None for stat in running_tree(one.pid)]
        for process in reversed(self._running):
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a stopped process would not react
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                for stat in running_tree(process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(stat.pid, signal.SIGKILL)
                process.wait()
        while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in trees):
            time.sleep(0.02)  # children of a process that has ended are reaped by init
        self._running.clear()


def _get(port: int, tls: ssl.SSLContext | None) -> str:
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=5.0, context=tls)
        if tls is not None
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    )
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        return f"{response.status} with {len(response.read())} bytes"
    finally:
        connection.close()
