"""The entry point (L7): `balancer`, and `python -m balancer`.

The command line of a run is understood here, without typer and rich: an instance would keep their 5 MiB for
good. `cli` has all other commands.
"""

import os
import signal
import sys
from collections.abc import Sequence

from balancer.errors import OperatorError

_STDERR = 2


def main() -> None:
    """Problems that the operator must fix become plain lines and exit code 1, never a traceback."""
    _open_standard_descriptors()
    try:
        sys.exit(_run(sys.argv[1:]))
    except OperatorError as error:
        from balancer.cli import report

        report(error)
        sys.exit(1)
    except KeyboardInterrupt:  # before the supervisor has taken over the signal
        sys.exit(128 + signal.SIGINT)


def _run(arguments: Sequence[str]) -> int:
    config = config_of_run(arguments)
    if config is None:
        from balancer.cli import app

        app(prog_name="balancer")  # exits
        return 0
    from balancer.runtime.start import start

    return start(config or None)


def config_of_run(arguments: Sequence[str]) -> str | None:
    """The settings file that the command line of a run names, "" if it names none; None if this is not the
    plain command line of a run, and `cli` has to look at it."""
    match [each for each in arguments if each != "run"]:
        case []:
            found = ""
        case ["-c" | "--config", file] if file:
            found = file
        case [option] if option.startswith("--config=") and option != "--config=":
            found = option.removeprefix("--config=")
        case _:
            return None
    return found if arguments.count("run") <= 1 else None


def _open_standard_descriptors() -> None:
    """Open 0, 1 and 2 if they are closed: else the next file opened would get that number, and its output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


if __name__ == "__main__":
    main()
