"""The supervisor's own log (L7): one line per event on stderr, written outside the event loop."""

import logging
import time
from functools import partial

from balancer.telemetry.line_writer import LineWriter


class LineHandler(logging.Handler):
    """Hands formatted records to the writer's thread: a blocked stderr must not stop the supervisor."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format here, before the record's arguments can change; write in the thread."""
        self._writer.write(partial(_encode, self.format(record)))


class _Formatter(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self.converter = time.gmtime


def open_log(level: str, fd: int = 2) -> tuple[logging.Logger, LineWriter]:
    """The logger, and its writer, to be closed last. The logs of asyncio and aiohttp use it too."""
    writer = LineWriter(fd, max_lines=10_000)
    handler = LineHandler(writer)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger = logging.getLogger("balancer")
    logger.setLevel(level.upper())
    return logger, writer


def _encode(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace") + b"\n"
