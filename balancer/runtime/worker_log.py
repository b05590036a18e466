"""Writes the log lines of workers to the instance's log (L7)."""

import logging

from balancer.messages import LogLine

_SAID_KEPT = 4096  # keys of lines logged once; then all are forgotten


class WorkerLog:
    """The workers' part of the log."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()  # keys of lines that any worker may send, and one has sent

    def take(self, number: int, line: LogLine) -> None:
        """Log a line of worker `number`, with its traceback if there is one; one with a key in `once` is
        logged once."""
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
