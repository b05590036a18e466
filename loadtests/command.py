"""Runs a measurement as a command: its own exit code 0 or 1, 1 on errors, 130 on Ctrl-C."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from loadtests.errors import BenchError


def run(name: str, measure: Callable[[], int]) -> int:
    """The exit code, that of `measure` unless it fails. SIGTERM counts as Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return measure()
    except BenchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
