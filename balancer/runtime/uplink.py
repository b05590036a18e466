"""What a worker tells the supervisor besides its access log (L6)."""

from balancer.runtime.channel import Channel, Message

LEVELS = ("debug", "info", "warning", "error")


class Uplink:
    """The worker's way up. Nothing here blocks or raises: what the channel cannot take is dropped."""

    __slots__ = ("_channel", "_level")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._level = 0

    def set_level(self, level: str) -> None:
        """Log lines below `level` are not sent from now on."""
        self._level = LEVELS.index(level)

    def send(self, message: Message) -> bool:
        """Send a message; False where it was dropped."""
        return self._channel.send(message)

    def log(self, level: str, message: str, traceback_text: str | None = None) -> None:
        """A line for the supervisor's log."""
        if LEVELS.index(level) >= self._level:
            self.send({"type": "log", "level": level, "message": message, "traceback": traceback_text})
