"""A worker process (L6): `python -m balancer.runtime.worker CHANNEL_FD SEGMENT_FD LISTENER_FD...`.

The composition root of the data plane: takes what the supervisor passed, builds the proxy, serves, and
leads it out again. One event loop, no threads; everything it knows comes by the control channel.
"""

import asyncio
import gc
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import uvloop

from balancer.clock import SystemClock
from balancer.errors import OperatorError
from balancer.runtime import signals
from balancer.runtime.acceptor import Doors
from balancer.runtime.channel import Channel, Message
from balancer.runtime.serving import Serving
from balancer.runtime.uplink import Uplink
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.segment import Segment

LAST_WORDS = 1.0  # seconds that the last message to the supervisor may take


class Worker:
    """One life of a worker, from the `start` message to the last client."""

    def __init__(self, channel_fd: int, segment_fd: int, listener_fds: list[int]) -> None:
        self._channel_socket = socket.socket(fileno=channel_fd)
        self._segment_fd = segment_fd
        self._listeners = [socket.socket(fileno=fd) for fd in listener_fds]
        self._clock = SystemClock()
        self._channel = Channel(self._on_message, self._on_channel_lost, self._on_message_error)
        self._uplink = Uplink(self._channel)
        self._lost = asyncio.Event()
        self._start: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        # Set to whether the listening sockets shall be ended for all processes (see Acceptor).
        self._leave: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._early: list[Message] = []  # what came before there was a proxy to tell
        self._built = False
        self._handlers: dict[str, Callable[[Message], None]] = {
            "start": self._start.set_result,
            "drain": lambda _: self._ask_to_leave(and_end=True),
            "retire": lambda _: self._ask_to_leave(and_end=False),  # a successor serves its socket
        }

    async def run(self) -> int:
        """Serve until told to leave, or until the supervisor is gone. Gives the exit code."""
        await self._channel.open(self._channel_socket)
        try:
            start = await self._start
            served = await self._build(start)
        except Exception as error:
            if self._lost.is_set():
                return 0
            self._uplink.log("debug", "start-up failed", traceback.format_exc())
            await self._say_last({"type": "fatal", "error": _in_words(error)})
            return 1
        self._uplink.send({"type": "ready"})
        and_end = await self._leave
        await served.lead_out(start["drain"], and_end=and_end)
        await self._say_last({"type": "drained"})
        return 0

    async def _build(self, start: Message) -> Serving:
        # Imported here so that an error in it is reported through the channel, as one line.
        from balancer.runtime.build import build_data_plane, member_states

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        self._uplink.set_level(start["log_level"])
        segment = Segment.attach(self._segment_fd, start["workers"])
        access = start["access_log"]
        records = AccessLog(access["enabled"], access["sample"], Random())
        proxy = build_data_plane(
            start,
            loop=loop,
            segment=segment,
            clock=self._clock,
            records=records,
            log=self._uplink.log,
            tell=self._uplink.send,
        )
        doors = Doors(self._listeners, proxy.client_protocol)
        self._handlers["adopt"] = doors.on_adopt
        self._handlers["release"] = doors.on_release
        self._handlers["pool"] = lambda message: proxy.take_news(
            message["name"],
            member_states(message["upstreams"], start["workers"], start["slot"]),
            message["revision"],
            starting=message["starting"],
        )
        self._handlers["verdict"] = lambda message: proxy.membership.judged(
            message["pool"], message["row"], message["until"]
        )
        self._built = True
        for message in self._early:
            self._on_message(message)
        await doors.open(start["slot"])
        # What is alive now stays alive: collections need not look at it again.
        gc.collect()
        gc.freeze()
        row = segment.page(start["page"]).row(start["rows"]["worker"])
        serving = Serving(proxy, doors, records, row, self._uplink, self._clock)
        serving.sweep()
        return serving

    async def _say_last(self, message: Message) -> None:
        self._uplink.send(message)
        self._channel.close()
        with suppress(TimeoutError):  # the supervisor does not read: it has to do without
            async with asyncio.timeout(LAST_WORDS):
                await self._lost.wait()

    def _on_message(self, message: Message) -> None:
        handler = self._handlers.get(message["type"])
        if handler is not None:
            handler(message)
        elif not self._built:
            self._early.append(message)
        else:
            self._uplink.log("error", f"the supervisor sent an unknown message: {message['type']}")

    def _on_message_error(self, message: Message, error: Exception) -> None:
        # What it was about stays as it was: old state serves better than no worker.
        text = "".join(traceback.format_exception(error))
        self._uplink.log("error", f"the message {message.get('type')} could not be applied: {error!r}", text)

    def _on_channel_lost(self) -> None:
        self._lost.set()
        if not self._start.done():
            self._start.set_exception(ConnectionError("the supervisor is gone"))
        self._ask_to_leave(and_end=False)

    def _ask_to_leave(self, *, and_end: bool) -> None:
        if not self._leave.done():
            self._leave.set_result(and_end)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else None
        self._uplink.log("error", str(context.get("message", "error in the event loop")), text)


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"


async def _run(channel_fd: int, segment_fd: int, *listener_fds: int) -> int:
    return await Worker(channel_fd, segment_fd, list(listener_fds)).run()


def main(arguments: list[str]) -> int:
    """The process: exit code 0 when led out, 1 after a start-up error."""
    signals.ignore_all()
    return uvloop.run(_run(*map(int, arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
