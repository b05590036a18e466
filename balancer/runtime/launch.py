"""From settings to a running instance (L7): opens and closes everything that outlives the event loop."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

import uvloop

from balancer.errors import OperatorError
from balancer.runtime import signals
from balancer.runtime.inheritance import Successor
from balancer.runtime.interpreter import Interpreters
from balancer.runtime.listening import Listening
from balancer.runtime.log import open_log
from balancer.runtime.open_files import raise_limit
from balancer.runtime.plan import Plan
from balancer.runtime.sockets import open_admin
from balancer.runtime.supervisor import Supervisor
from balancer.telemetry.line_writer import LineWriter

LAST_LINES = 1.0  # seconds that the last lines of both logs may take to be written at exit
STDOUT = 1


def run(
    plan: Plan,
    interpreters: Interpreters,
    config_file: str | None = None,
    successor: Successor | None = None,
) -> int:
    """Run an instance until it is told to stop. Returns the exit code: 0 after a drain, 1 if it could not
    start (the reason is one line on stderr), 128 + the signal's number if a second signal ended the drain.
    `config_file` is that of the command line, for reloads. `successor`: this process replaces another one."""
    log, log_writer = open_log(plan.instance.worker.log_level)
    access_writer = LineWriter(STDOUT)
    opened = ExitStack()
    try:
        workers = plan.instance.worker.workers
        if successor is None:
            listening = Listening.open(plan.listens, workers)
            admin = open_admin(plan.admin_listen)
        else:
            plan, listening, admin = successor.takes(plan)
        opened.callback(listening.close_unless_in)
        opened.enter_context(admin)
        raise_limit()
        for notice in plan.notices:
            log.log(getattr(logging, notice.level.upper()), "%s", notice.text)

        async def supervise() -> int:
            return await Supervisor(
                plan, listening, admin, log, access_writer, interpreters, config_file, successor
            ).run()

        return uvloop.run(supervise())
    except OperatorError as error:
        log.error("%s", error)
        if successor is not None:
            successor.failed(str(error))
        return 1
    finally:
        opened.close()
        signals.outside_the_loop()
        close_logs(log, log_writer, access_writer)


def close_logs(
    log: logging.Logger,
    log_writer: LineWriter,
    access_writer: LineWriter,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Write what is queued, for LAST_LINES at most: if nobody reads it, it is lost."""
    end = now() + LAST_LINES
    lost = access_writer.close(LAST_LINES)
    if lost:
        log.warning("the last %d lines of the access log are lost: nobody reads stdout", lost)
    log_writer.close(max(end - now(), LAST_LINES / 10))
