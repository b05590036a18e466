"""The process that reads the settings again (L7): `python -m balancer.runtime.rereading`, which gets a
question on stdin, and answers on stdout."""

import os
import sys

from balancer import __version__
from balancer.runtime.plan import Refused, Reread
from balancer.runtime.planning import read_again
from balancer.runtime.rereader import decode_question
from balancer.spec.part import encode


def main() -> None:
    """Answer."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a policy's module prints is no answer
    asked = decode_question(sys.stdin.buffer.read())
    answer: Reread | Refused
    if asked.version == __version__:
        answer = read_again(os.environ, asked.config_file, asked.text, asked.before, asked.counted)
    else:
        installed = f"balancer {__version__} is installed, and {asked.version} is running"
        answer = Refused((f"{installed}: run balancer replace, which takes up settings too",))
    with open(answers, "wb") as pipe:
        pipe.write(encode(answer))


if __name__ == "__main__":
    main()
