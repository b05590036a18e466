"""Reads the settings in a process of its own (L7).

Models, YAML and policies are needed only to check the settings. They take 20 MiB, which go with that process,
and a quarter of a second, in which the supervisor and its first worker load what they need.
"""

import os
import select
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from balancer.errors import SettingsError, StartupError
from balancer.runtime import signals

if TYPE_CHECKING:
    from balancer.runtime.plan import Plan


class Reader:
    """A forked process that reads the settings. Create it before any thread: a fork has only its own one."""

    def __init__(self, environ: Mapping[str, str], config_file: str | None) -> None:
        """Raises StartupError if there can be no process."""
        self._pipe, theirs = os.pipe()
        try:
            self._pid = os.fork()
        except OSError as error:
            os.close(self._pipe)
            os.close(theirs)
            raise StartupError(f"the settings cannot be read: {error.strerror}") from None
        if not self._pid:
            os.close(self._pipe)
            _read(theirs, environ, config_file)
        os.close(theirs)

    def plan(self) -> "Plan":
        """Wait for its result. Raises SettingsError with all problems, or StartupError if it has failed."""
        from balancer.runtime.plan import Plan, Refused, decode

        with open(self._pipe, "rb") as pipe:
            data = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {signals.name_of(-code)}"
            raise StartupError(f"reading the settings failed ({how})")
        read = decode(data)
        if isinstance(read, Refused):
            raise SettingsError(list(read.problems))
        assert isinstance(read, Plan)
        return read


def _read(pipe: int, environ: Mapping[str, str], config_file: str | None) -> NoReturn:
    from threading import Thread  # only here: the supervisor's own imports come first

    code = 1
    try:
        # Its own session and default handlers: a signal is for the supervisor, which says so and exits.
        os.setsid()
        for number in signals.STOPPING:
            signal.signal(number, signal.SIG_DFL)
        Thread(target=_end_with_supervisor, args=(pipe,), daemon=True).start()
        from balancer.runtime.planning import read
        from balancer.spec.part import encode

        data = encode(read(environ, config_file))
        with open(pipe, "wb") as writing:
            writing.write(data)
        code = 0
    except BrokenPipeError:  # the supervisor is gone
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _end_with_supervisor(pipe: int) -> None:
    """Exit once the supervisor is gone: a policy's module may hang while it is loaded, or the settings file
    be a FIFO that nobody writes to."""
    poll = select.poll()
    poll.register(pipe, 0)  # POLLERR is always reported: no one reads the pipe any more
    poll.poll()
    os._exit(0)
