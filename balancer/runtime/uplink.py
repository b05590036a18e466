"""What a worker tells the supervisor besides its access log (L7)."""

from typing import get_args

from balancer.messages import FromSupervisor, FromWorker, LogLine
from balancer.runtime.channel import Channel
from balancer.spec.worker import Level

LEVELS: tuple[Level, ...] = get_args(Level)


class Uplink:
    """The worker's way up. Nothing here blocks or raises: what the channel cannot take is dropped."""

    __slots__ = ("_channel", "_level")

    def __init__(self, channel: Channel[FromSupervisor]) -> None:
        self._channel = channel
        self._level = 0

    def set_level(self, level: Level) -> None:
        """Log lines below `level` are not sent from now on."""
        self._level = LEVELS.index(level)

    def send(self, message: FromWorker) -> bool:
        """Send a message; False where it was dropped."""
        return self._channel.send(message)

    def log(self, level: Level, message: str, traceback_text: str | None = None) -> None:
        """A line for the supervisor's log."""
        if LEVELS.index(level) >= self._level:
            self.send(LogLine(level=level, message=message, traceback=traceback_text))
