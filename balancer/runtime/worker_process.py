"""One incarnation of a worker on the supervisor's side (L7): its process, control channel, and end."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from balancer.messages import FromSupervisor, FromWorker, Start, from_workers
from balancer.runtime import signals
from balancer.runtime.channel import Channel
from balancer.runtime.interpreter import Interpreter
from balancer.runtime.process_stats import ProcessStats, read_stats

LAST_GRACE = 1.0  # seconds between the end of the channel and the end of the process

_READS = from_workers()

OnMessage = Callable[[FromWorker], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker process ended."""

    exit_code: int  # negative: the signal that ended it
    cpu_seconds: float

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        try:
            return f"signal {signal.Signals(-self.exit_code).name}"
        except ValueError:
            return f"signal {-self.exit_code}"


OnEnded = Callable[[Ended], None]
OnError = Callable[[str, Exception], None]  # the kind of message, and the exception from handling it


class WorkerProcess:
    """An interpreter that runs `balancer.runtime.worker`.

    `on_message` gets its messages. `on_ended` is called once, when the process has ended and all its messages
    have been passed on; it is never called from within the constructor or a method. `on_error` gets the
    exceptions of `on_message`.
    """

    def __init__(
        self,
        start: Start,
        interpreter: Interpreter,
        *,
        on_message: OnMessage,
        on_ended: OnEnded,
        on_error: OnError,
    ) -> None:
        self._on_ended = on_ended
        self._ended: Ended | None = None
        self._stats = ProcessStats()  # as last read
        self._channel_lost = False
        self._last_grace: asyncio.TimerHandle | None = None
        self._channel = Channel(_READS, on_message, self._lost, on_error)
        self._unsent: list[FromSupervisor] = [start]  # until the channel is open
        self._process = interpreter.process
        self.pid = self._process.pid
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._exited)
        self._opening = self._loop.create_task(
            self._open(interpreter.channel), name=f"channel of worker {self.pid}"
        )

    def stats(self) -> ProcessStats:
        """Its usage so far, whose CPU time never decreases. May be called from another thread, also after its
        end: then of the CPU time only is anything left."""
        now = read_stats(self.pid) if self._ended is None else None
        if now is None:  # it has ended, perhaps just now
            ended = self._ended
            now = ProcessStats(self._stats.cpu_seconds if ended is None else ended.cpu_seconds)
        self._stats = now
        return now

    def send(self, message: FromSupervisor) -> bool:
        """Queue a message to the worker; False if it will not get it."""
        if self._unsent:
            self._unsent.append(message)
            return True
        return self._channel.send(message)

    def ask_for_stack(self) -> None:
        """Make it write its stack to stderr, even in the middle of a turn of its loop."""
        if self._ended is None and signals.stderr_is_read():
            signal.pidfd_send_signal(self._pidfd, signals.STACK)

    def kill(self) -> None:
        """End it at once, whatever it does; `on_ended` follows."""
        if self._ended is None:
            # Not Popen.kill: it reaps a process that has ended, and its exit code would be lost.
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _open(self, sock: socket.socket) -> None:
        await self._channel.open(sock)
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            self._channel.send(message)

    def _exited(self) -> None:
        if self._last_grace is not None:
            self._last_grace.cancel()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._ended = Ended(self._process.returncode, usage.ru_utime + usage.ru_stime)
        if not self._channel_lost:
            # Its last messages are still to be read, up to the end of the channel.
            self._last_grace = self._loop.call_later(LAST_GRACE, self._lost)
        self._report()

    def _lost(self) -> None:
        if self._channel_lost:
            return
        if self._last_grace is not None:
            self._last_grace.cancel()
        self._channel_lost = True
        self._channel.abort()
        # A worker that closes its channel is about to exit. If it does not, it cannot be controlled any more.
        if self._ended is None:
            self._last_grace = self._loop.call_later(LAST_GRACE, self.kill)
        self._report()

    def _report(self) -> None:
        if self._ended is not None and self._channel_lost:
            self._on_ended(self._ended)
