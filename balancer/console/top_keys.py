"""The keys that are pressed while `balancer top` runs (L7)."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

UP, DOWN, LEFT, ENTER, ESCAPE, PAGE_UP, PAGE_DOWN = (
    "up",
    "down",
    "left",
    "enter",
    "escape",
    "page up",
    "page down",
)
_NAMES = {
    "\x1b[A": UP,
    "\x1bOA": UP,
    "\x1b[B": DOWN,
    "\x1bOB": DOWN,
    "\x1b[D": LEFT,
    "\x1bOD": LEFT,
    "\x1b[5~": PAGE_UP,
    "\x1b[6~": PAGE_DOWN,
    "\x1b": ESCAPE,
    "\x7f": LEFT,
    "\r": ENTER,
    "\n": ENTER,
    "k": UP,
    "j": DOWN,
}
_MOST = 64  # bytes read at once


def keys_in(text: str) -> Iterator[str]:
    """The keys in what a terminal has sent: names of special ones, else characters."""
    while text:
        found = max((code for code in _NAMES if text.startswith(code)), key=len, default="")
        if found == "\x1b" and len(text) > 1 and text[1] in "[O":  # a key that we have no use for
            end = next(
                (at for at, each in enumerate(text[2:], 3) if each.isalpha() or each == "~"), len(text)
            )
            text = text[end:]
            continue
        yield _NAMES.get(found, text[0])
        text = text[len(found) or 1 :]


class Keys:
    """The keys of standard input; without a terminal there is none, and time only passes."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> list[str]:
        """Those that are pressed, at once; none after `seconds`."""
        if self._descriptor is None:
            time.sleep(seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        read = os.read(self._descriptor, _MOST)
        if not read:  # the terminal is gone
            self._descriptor = None
        return list(keys_in(read.decode("ascii", "ignore")))


@contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Read keys as they are pressed, without showing them; Ctrl-C stays a signal."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
