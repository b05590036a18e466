"""From settings to a running instance (L7): opens and closes everything that outlives the event loop."""

import logging
import socket
import time

import uvloop

from balancer.config.loader import Loaded
from balancer.errors import OperatorError
from balancer.runtime import signals
from balancer.runtime.log import open_log
from balancer.runtime.open_files import affordable_connections, is_alarming, lowered, raise_limit
from balancer.runtime.sockets import open_admin, open_listeners
from balancer.runtime.supervisor import Supervisor
from balancer.telemetry.line_writer import LineWriter

LAST_LINES = 1.0  # seconds that the last lines of both logs may take to be written at exit
STDOUT = 1


def run(loaded: Loaded) -> int:
    """Run an instance until it is told to stop. Returns the exit code: 0 after a drain, 1 if it could not
    start (the reason is one line on stderr), 128 + the signal's number if a second signal ended the drain."""
    settings = loaded.settings
    log, log_writer = open_log(settings.log_level)
    access_writer = LineWriter(STDOUT)
    sockets: list[socket.socket] = []
    for warning in loaded.warnings:
        log.warning("%s", warning)
    try:
        sockets += open_listeners(settings.listen, settings.workers)
        sockets.append(open_admin(settings.admin_listen))
        *listeners, admin = sockets
        max_connections = fit_connections(loaded, raise_limit(), log)

        async def supervise() -> int:
            return await Supervisor(loaded, listeners, admin, max_connections, log, access_writer).run()

        return uvloop.run(supervise())
    except OperatorError as error:
        log.error("%s", error)
        return 1
    finally:
        for sock in sockets:
            sock.close()
        signals.outside_the_loop()
        close_logs(log, log_writer, access_writer)


def close_logs(log: logging.Logger, log_writer: LineWriter, access_writer: LineWriter) -> None:
    """Write what is queued, for LAST_LINES at most: if nobody reads it, it is lost."""
    end = time.monotonic() + LAST_LINES
    lost = access_writer.close(LAST_LINES)
    if lost:
        log.warning("the last %d lines of the access log are lost: nobody reads stdout", lost)
    log_writer.close(max(end - time.monotonic(), LAST_LINES / 10))


def fit_connections(loaded: Loaded, open_files: int, log: logging.Logger) -> int:
    """How many client connections a limit of `open_files` allows; logged if that is less than wanted."""
    wanted = loaded.settings.limits.max_connections
    affordable = affordable_connections(wanted, open_files, loaded.settings.workers)
    if affordable < wanted:
        asked_for = ("limits", "max_connections") in loaded.origins
        level = logging.WARNING if is_alarming(affordable, asked_for) else logging.INFO
        log.log(level, "%s", lowered(wanted, affordable, open_files, loaded.settings.workers))
    return affordable
