"""A worker process (L7): `python -m balancer.runtime.worker CHANNEL_FD [SEGMENT_FD LISTENER_FD...]`. The
others come over the channel if they are not named (`interpreter`).

The composition root of the data plane: takes over what the supervisor passed, builds the data plane, serves,
and shuts down. One event loop, no threads; all its configuration comes over the control channel.
"""

import asyncio
import gc
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

import uvloop

from balancer.clock import SystemClock
from balancer.errors import OperatorError
from balancer.messages import (
    Adopt,
    Challenges,
    Drain,
    Drained,
    Fatal,
    FromSupervisor,
    FromWorker,
    Others,
    PoolUpdate,
    ReadOnly,
    Ready,
    Release,
    Retire,
    RoutesUpdate,
    SplitUpdate,
    Start,
    TlsUpdate,
    UpstreamTlsUpdate,
    Verdict,
    Watch,
    from_supervisor,
)
from balancer.runtime import signals
from balancer.runtime.acceptor import ALL_LISTENERS, Acceptor, Listeners
from balancer.runtime.channel import Channel
from balancer.runtime.interpreter import receive
from balancer.runtime.serving import Serving
from balancer.runtime.trimming import keep_some
from balancer.runtime.uplink import Uplink
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.segment import Segment

if TYPE_CHECKING:
    from balancer.clients.data_plane import DataPlane

_ToProxy: TypeAlias = (
    PoolUpdate
    | SplitUpdate
    | RoutesUpdate
    | Others
    | ReadOnly
    | Watch
    | TlsUpdate
    | UpstreamTlsUpdate
    | Challenges
    | Verdict
    | Adopt
    | Release
)
LAST_WORDS = 1.0  # seconds for sending the last message to the supervisor
# Of the garbage collector. What a worker does leaves no cycles (tests/proxy/test_no_garbage.py), so a full
# collection finds little (a refused dial leaves 12 objects, which the next young collection frees), and stops
# all clients for 25 ms when 3,000 are connected: one comes after 600,000 objects more, about 70 MB, in case a
# policy leaves some. Those between look at 3,000 objects, not 7,000. (A threshold is exceeded, not reached.)
_THRESHOLDS = (1000, 1, 200)


class Worker:
    """One incarnation of a worker, from the `start` message to the last client."""

    def __init__(self, channel_fd: int, segment_fd: int, listener_fds: list[int]) -> None:
        self._channel_socket = socket.socket(fileno=channel_fd)
        self._segment_fd = segment_fd
        self._listeners = [socket.socket(fileno=fd) for fd in listener_fds]
        self._clock = SystemClock()
        self._channel = Channel(
            from_supervisor(), self._on_message, self._on_channel_lost, self._on_message_error
        )
        self._uplink = Uplink(self._channel)
        self._lost = asyncio.Event()
        self._start: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        self._leave: asyncio.Future[Drain | Retire] = asyncio.get_running_loop().create_future()
        self._hurry = asyncio.Event()  # told to drain, if it is retiring
        self._early: list[_ToProxy] = []  # messages that arrived before the data plane was built
        self._parts: tuple[DataPlane, Listeners] | None = None

    async def run(self) -> int:
        """Serve until told to leave, or until the supervisor is gone. Returns the exit code."""
        await self._channel.open(self._channel_socket)
        try:
            start = await self._start
            served = await self._build(start)
        except Exception as error:
            if self._lost.is_set():
                return 0
            self._uplink.log("debug", "start-up failed", traceback.format_exc())
            await self._say_last(Fatal(error=_in_words(error)))
            return 1
        self._uplink.send(Ready())
        order, drain = await self._leave, start.spec.drain
        if isinstance(order, Retire):  # its last seconds are an ordinary drain
            await served.retire(order.within - drain, self._hurry, order.ends)
            await served.shut_down(min(drain, order.within))
        else:
            await served.shut_down(drain, () if self._lost.is_set() else ALL_LISTENERS)
        await self._say_last(Drained())
        return 0

    async def _build(self, start: Start) -> Serving:
        # Imported here so that an error in it is reported over the channel, as one line.
        from balancer.runtime.build import build_data_plane

        spec = start.spec
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        sys.unraisablehook = self._on_unraisable
        self._uplink.set_level(spec.log_level)
        keep_some()
        segment = Segment.attach(self._segment_fd)
        logged = spec.access_log
        access_log = AccessLog(logged.enabled, logged.sample, Random(), logged.fields, logged.format)
        proxy = build_data_plane(
            start,
            loop=loop,
            segment=segment,
            clock=self._clock,
            access_log=access_log,
            log=self._uplink.log,
            tell=self._uplink.send,
        )
        listeners = Listeners(acceptors(self._listeners, proxy))
        self._parts = proxy, listeners
        for message in self._early:
            self._tell(proxy, listeners, message)
        await listeners.open(start.slot)
        # Objects alive now stay alive: the collector need not look at them again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
        row = segment.page(start.page).row(start.rows.worker)
        serving = Serving(proxy, listeners, access_log, row, self._uplink, self._clock)
        serving.sweep()
        return serving

    async def _say_last(self, message: FromWorker) -> None:
        self._uplink.send(message)
        self._channel.close()
        with suppress(TimeoutError):  # the supervisor does not read: the message is lost
            async with asyncio.timeout(LAST_WORDS):
                await self._lost.wait()

    def _on_message(self, message: FromSupervisor) -> None:
        match message:
            case Start():
                self._start.set_result(message)
            case Drain() | Retire():
                self._ask_to_leave(message)
            case _ if self._parts is None:
                self._early.append(message)
            case _:
                self._tell(*self._parts, message)

    @staticmethod
    def _tell(proxy: "DataPlane", listeners: Listeners, message: "_ToProxy") -> None:
        match message:
            case PoolUpdate():
                proxy.take_update(message)
            case SplitUpdate():
                proxy.take_split(message)
            case RoutesUpdate():
                proxy.take_routes(message)
            case Others():
                proxy.membership.take_others(message)
            case ReadOnly():
                proxy.take_read_only(message)
            case Watch():
                proxy.context.explaining.watch(message)
            case TlsUpdate():
                proxy.take_tls(message)
            case UpstreamTlsUpdate():
                proxy.membership.take_tls(message)
            case Challenges():
                proxy.take_challenges(message.pending)
            case Verdict():
                proxy.membership.judged(message)
            case Adopt():
                listeners.adopt(message)
            case Release():
                listeners.release(message)
            case _:
                assert_never(message)

    def _on_message_error(self, what: str, error: Exception) -> None:
        # The old state stays: it is better than no worker.
        if self._start.done():
            text = "".join(traceback.format_exception(error))
            self._uplink.log("error", f"the message {what} could not be applied: {error!r}", text)
        else:
            self._start.set_exception(error)

    def _on_channel_lost(self) -> None:
        self._lost.set()
        if not self._start.done():
            self._start.set_exception(ConnectionError("the supervisor is gone"))
        self._ask_to_leave(Drain())

    def _ask_to_leave(self, order: Drain | Retire) -> None:
        if isinstance(order, Drain):
            self._hurry.set()
        if not self._leave.done():
            self._leave.set_result(order)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else None
        self._uplink.log("error", str(context.get("message", "error in the event loop")), text)

    def _on_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """An exception that nothing can catch, which Python would print."""
        error = unraisable.exc_value
        if isinstance(error, UnicodeDecodeError) and isinstance(unraisable.object, bytes):
            return  # a client's server name is not ASCII: its handshake has failed, and is counted
        text = "".join(traceback.format_exception(error)) if error is not None else None
        self._uplink.log("error", f"unraisable: {unraisable.err_msg or error!r}", text)


def acceptors(sockets: Sequence[socket.socket], proxy: "DataPlane") -> list[list[Acceptor]]:
    """For each slot those of its sockets: first come the plain ones of all slots, then those for TLS."""
    if proxy.handshakes is None:
        return [[Acceptor(sock, proxy.client_protocol)] for sock in sockets]
    slots = len(sockets) // 2
    return [
        [Acceptor(plain, proxy.client_protocol), Acceptor(secure, proxy.handshakes.protocol)]
        for plain, secure in zip(sockets[:slots], sockets[slots:], strict=True)
    ]


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"


async def _run(channel_fd: int, segment_fd: int, *listener_fds: int) -> int:
    return await Worker(channel_fd, segment_fd, list(listener_fds)).run()


def main(arguments: list[str]) -> int:
    """Run the process; exit code 0 after a shutdown, 1 after a start-up error."""
    signals.ignore_all()
    channel, *descriptors = map(int, arguments)
    descriptors = descriptors or _awaited(channel)
    return uvloop.run(_run(channel, *descriptors)) if descriptors else 0


def _awaited(channel: int) -> list[int]:
    """The descriptors for an interpreter that was started early, once it has loaded what it will need; [] if
    the supervisor is gone."""
    with suppress(Exception):
        import balancer.runtime.build  # noqa: F401 - if it fails, `_build` reports it
    with socket.socket(fileno=os.dup(channel)) as sock:
        return receive(sock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
