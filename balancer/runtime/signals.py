"""What signals do (L7). By default nearly all of them end a process silently; here only KILL does.

Only the supervisor acts on them: workers ignore them, and get their orders over the channel.
"""

import faulthandler
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STDERR = 2

# These drain. nginx's images are stopped with QUIT; LXC stops containers with PWR; XCPU means that the CPU
# time of `ulimit -t` is nearly used up, and KILL follows.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPWR, signal.SIGXCPU)

_NOTHING = "it has no meaning here"
RELOADING = signal.SIGHUP
REPLACING = signal.SIGUSR2
# These are ignored, with a log line.
WITHOUT_EFFECT: dict[int, str] = {
    signal.SIGUSR1: "logs go to stdout and stderr; there is no file to reopen",
    **dict.fromkeys(
        (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGSTKFLT), _NOTHING
    ),
    **dict.fromkeys(range(signal.SIGRTMIN, signal.SIGRTMAX + 1), _NOTHING),
}
# From a bug or a debugger: they end the process as usual, but with a Python traceback.
_CRASHES = (signal.SIGTRAP, signal.SIGSYS)

# With this signal the supervisor asks a worker for its stack.
STACK = signal.SIGUSR1

_ALL = (*STOPPING, RELOADING, REPLACING, *WITHOUT_EFFECT)
_HELD = (*_ALL, signal.SIGPIPE, signal.SIGXFSZ)  # the interpreter ignores these two once it runs


def name_of(number: int) -> str:
    """The signal's name: SIGTERM, SIGRTMIN+3."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return signal.Signals(number).name


def outside_the_loop() -> None:
    """Handlers for before and after the supervisor's event loop: exit at once, there is nothing to drain."""
    for number in STOPPING:
        signal.signal(number, _exit_at_once)
    signal.signal(RELOADING, _came_early)
    for ignored in (REPLACING, *WITHOUT_EFFECT):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)  # see `held`: this program may replace another one


def asked_to_reload_early() -> bool:
    """Whether RELOADING came before the event loop: the settings may have been read before that."""
    return bool(_early)


def ignore_all() -> None:
    """Handlers of a worker: it ignores signals, also those sent to a whole process group or cgroup. At STACK
    it writes its stack to stderr, whatever it is doing."""
    for number in _ALL:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.register(STACK, STDERR, all_threads=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)  # see `held`
    say_crashes()


@contextmanager
def held() -> Iterator[None]:
    """Block signals inside the context. A process started in it does not get them until it unblocks them
    itself: else they would end it before it can ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say_crashes() -> None:
    """Make crashes leave a traceback on stderr. Costs nothing until then."""
    faulthandler.enable(STDERR)
    for number in _CRASHES:
        faulthandler.register(number, STDERR, chain=True)


def stderr_is_read() -> bool:
    """Whether a few KiB can be written to stderr: if nobody reads it, the write would block the process."""
    poller = select.poll()
    poller.register(STDERR, select.POLLOUT)
    return bool(poller.poll(0))


_early: list[int] = []


def _came_early(number: int, frame: object) -> None:
    _early.append(number)


def _exit_at_once(number: int, frame: object) -> NoReturn:
    if stderr_is_read():
        os.write(STDERR, f"balancer: {name_of(number)} while it does not serve: exiting at once\n".encode())
    os._exit(128 + number)
