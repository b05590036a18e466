"""Starts the process that reads changed certificates (L7), and waits for its answer."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

from balancer.errors import BalancerError
from balancer.runtime.certificate_sources import ReadAnswer, ReadRequest, decode_answer
from balancer.runtime.interpreter import worker_environment
from balancer.spec.part import DecodeError, encode

PATIENCE = 15.0  # seconds; it usually takes 0.2
_MODULE = "balancer.runtime.certificate_reading"


class ReadingError(BalancerError):
    """The process could not be started, or did not answer: the reason, for the log."""


async def read_in_process(request: ReadRequest) -> ReadAnswer:
    """The answer of a new process. Raises ReadingError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _MODULE),
            stdin=PIPE,
            stdout=PIPE,
            env=worker_environment(os.environ),
            # Its own session: an INT typed at the terminal goes only to the supervisor.
            start_new_session=True,
        )
    except OSError as error:
        raise ReadingError(f"no process can be started ({(error.strerror or str(error)).lower()})") from None
    try:
        async with asyncio.timeout(PATIENCE):
            data, _ = await process.communicate(encode(request))
    except TimeoutError:
        _end(process)
        await process.wait()  # else they would pile up: one that waits for a disk cannot be killed
        raise ReadingError(f"reading the files takes more than {PATIENCE:g} s; is the disk there?") from None
    finally:
        _end(process)
    try:
        return decode_answer(data)
    except DecodeError:
        raise ReadingError(f"reading the files failed (exit code {process.returncode})") from None


def _end(process: Process) -> None:
    with suppress(ProcessLookupError):  # it has ended
        process.kill()
