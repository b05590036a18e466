"""A worker's messages and log lines to the supervisor (L7)."""

from typing import get_args

from balancer.messages import FromSupervisor, FromWorker, LogLine
from balancer.runtime.channel import Channel
from balancer.spec.worker import Level

LEVELS: tuple[Level, ...] = get_args(Level)


class Uplink:
    """Sends to the supervisor. Nothing here blocks or raises: what the channel cannot take is dropped."""

    __slots__ = ("_channel", "_level")

    def __init__(self, channel: Channel[FromSupervisor]) -> None:
        self._channel = channel
        self._level = 0

    def set_level(self, level: Level) -> None:
        """Stop sending log lines below `level`."""
        self._level = LEVELS.index(level)

    def send(self, message: FromWorker) -> bool:
        """Send a message; False if it was dropped."""
        return self._channel.send(message)

    def log(self, level: Level, message: str, traceback_text: str | None = None) -> None:
        """Send a line for the supervisor's log."""
        if LEVELS.index(level) >= self._level:
            self.send(LogLine(level=level, message=message, traceback=traceback_text))
