"""What workers say becomes lines of the instance's log (L7)."""

import logging

from balancer.messages import LogLine

_SAID_KEPT = 4096  # of what is said once; then it is forgotten


class WorkerLog:
    """Takes their lines."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()  # what all workers would say, and one has said

    def take(self, number: int, line: LogLine) -> None:
        """Worker `number` has a line, with a traceback or without; what has a key in `once` is said once."""
        once = line.once
        if once is not None:
            if once in self._said:
                return
            if len(self._said) >= _SAID_KEPT:
                self._said.clear()
            self._said.add(once)
        text = f"worker {number}: {line.message}"
        if line.traceback:
            text = f"{text}\n{line.traceback.rstrip()}"
        self._log.log(logging.getLevelNamesMapping()[line.level.upper()], "%s", text)
