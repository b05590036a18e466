"""Reads the settings again while the instance runs (L7), in a process of its own: as `reader`, but executed,
as the supervisor has threads by now.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress

from balancer import __version__
from balancer.errors import StartupError
from balancer.runtime.plan import Plan, Refused, Reread, decode
from balancer.spec.part import DecodeError, Decoder, Part, encode

PATIENCE = 30.0  # seconds; it usually takes half a second, and 2 s with 1,000 upstreams
_MODULE = "balancer.runtime.rereading"


class Question(Part, frozen=True, kw_only=True):
    """`config_file` is that of the command line, `text` a settings file's to read instead, `before` the
    present `Plan.models`, which only the same `version` can read, `counted` the bounds of histograms that the
    instance has."""

    config_file: str | None
    text: str | None
    before: bytes
    version: str
    counted: tuple[float, ...]


class Rereader:
    """`config_file` is that of the command line. The environment is that of this process."""

    def __init__(self, config_file: str | None) -> None:
        self._config_file = config_file

    async def read(self, present: Plan, text: str | None) -> Reread | Refused:
        """The settings as they are now, compared with the present ones. Raises StartupError if the process
        fails."""
        question = Question(
            config_file=self._config_file,
            text=text,
            before=present.models,
            version=__version__,
            counted=present.instance.worker.edges,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *([] if not sys.flags.safe_path else ["-P"]), "-m", _MODULE),
                stdin=PIPE,
                stdout=PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # an INT typed at the terminal goes only to the supervisor
            )
        except OSError as error:
            raise StartupError(f"the settings cannot be read: {error.strerror or error}") from None
        try:
            async with asyncio.timeout(PATIENCE):
                data, _ = await process.communicate(encode(question))
        except TimeoutError:
            raise StartupError(f"reading the settings takes more than {PATIENCE:g} s") from None
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.kill()
        try:
            answer = decode(data)
        except DecodeError:
            raise StartupError(f"reading the settings failed (exit code {process.returncode})") from None
        assert not isinstance(answer, Plan)
        return answer


def decode_question(data: bytes) -> Question:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[Question](Question).decode(data)
