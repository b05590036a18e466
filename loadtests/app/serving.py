"""Serves an app replica until TERM, with its slow start and a graceful end."""

import asyncio
import os
import signal
import socket
import sys
from random import Random

from aiohttp import web

from loadtests.app.errors import SwitchError
from loadtests.app.replica import Replica
from loadtests.app.switches import Options, read_environment

LAST_ANSWERS = 10.0  # seconds that running requests may take after TERM


async def serve(options: Options, replica: Replica, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; running requests are answered first, within LAST_ANSWERS."""
    # A handler ends with its client: otherwise a hanging one would wait for ever for a change of switches.
    runner = web.AppRunner(
        replica.application(), access_log=None, shutdown_timeout=LAST_ANSWERS, handler_cancellation=True
    )
    await runner.setup()
    try:
        replica.starting = options.start_delay > 0
        if options.closed_at_first and await _is_set_within(stop, options.start_delay):
            return
        site = web.TCPSite(runner, options.host, options.port)
        await site.start()
        print(f"app replica {options.name} serves on {_address(runner)}", flush=True)
        if not options.closed_at_first and await _is_set_within(stop, options.start_delay):
            return
        replica.starting = False
        await stop.wait()
    finally:
        await runner.cleanup()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(options, Replica(options.name, options.switches, Random()), stop)


def main() -> int:
    """The process; an invalid environment is reported in one line, with exit code 1."""
    try:
        options = read_environment(os.environ, socket.gethostname())
        asyncio.run(_run(options))
    except (SwitchError, OSError) as error:
        print(f"app replica: {error}", file=sys.stderr)
        return 1
    return 0
