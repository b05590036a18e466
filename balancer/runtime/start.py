"""The start of an instance (L7): three processes load their modules at the same time.

They are the supervisor, which goes on here; the reader, which checks the settings and ends; and the first
worker, which gets its sockets and its spec once they are known. So this module imports little.
"""

import os

from balancer.runtime import signals
from balancer.runtime.interpreter import Interpreters
from balancer.runtime.reader import Reader
from balancer.runtime.succeeds import VARIABLE


def start(config_file: str | None) -> int:
    """Run an instance until it is told to stop; returns the exit code (`launch.run`). Raises OperatorError if
    the settings are wrong."""
    signals.outside_the_loop()
    signals.say_crashes()
    replaces = os.environ.pop(VARIABLE, "")
    reader = Reader(os.environ, config_file)
    interpreters = Interpreters()
    try:
        interpreters.warm_up()
        from balancer.runtime.launch import run  # while the other two load what they need

        if not replaces:
            return run(reader.plan(), interpreters, config_file)
        from balancer.runtime.inheritance import Successor

        with Successor.on(int(replaces)) as successor:
            return run(reader.plan(), interpreters, config_file, successor)
    finally:
        interpreters.close()
