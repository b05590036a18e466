"""Starts the process that orders a certificate (L7), and listens to it."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress

from balancer.acme.problem import Cause
from balancer.runtime.acme_parts import (
    Failed,
    Note,
    Ordered,
    OrderRequest,
    Publish,
    decode_said,
)
from balancer.runtime.interpreter import worker_environment
from balancer.spec.part import DecodeError, encode
from balancer.spec.tls import ChallengeSpec

PATIENCE = 310.0  # seconds; the process ends itself before
_MODULE = "balancer.runtime.acme_ordering"
_LIMIT = 1 << 20  # bytes of a line

OnPublish = Callable[[tuple[ChallengeSpec, ...]], Awaitable[None]]
OnNote = Callable[[str], None]


async def order_in_process(request: OrderRequest, publish: OnPublish, note: OnNote) -> Ordered | Failed:
    """What a new process says last. `publish` returns when clients would find the challenges."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _MODULE),
            stdin=PIPE,
            stdout=PIPE,
            limit=_LIMIT,
            env=worker_environment(os.environ),
            # Its own session: an INT typed at the terminal goes only to the supervisor.
            start_new_session=True,
        )
    except OSError as error:
        return _ours(f"no process can be started ({(error.strerror or str(error)).lower()})")
    try:
        async with asyncio.timeout(PATIENCE):
            return await _listen(process, request, publish, note)
    except TimeoutError:
        return _ours(f"ordering takes more than {PATIENCE:g} s")
    except OSError as error:
        return _ours(f"ordering failed ({(error.strerror or str(error)).lower()})")
    except (DecodeError, ValueError):
        return _ours("ordering failed, for a reason that is on stderr")
    finally:
        with suppress(ProcessLookupError):  # it has ended
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _listen(
    process: Process, request: OrderRequest, publish: OnPublish, note: OnNote
) -> Ordered | Failed:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode(request) + b"\n")
    while line := await process.stdout.readline():
        match decode_said(line):
            case Publish(challenges=challenges):
                await publish(challenges)
                process.stdin.write(b"published\n")
            case Note(text=text):
                note(text)
            case said:
                return said
    return _ours(f"ordering ended with the exit code {await process.wait()}")


def _ours(why: str) -> Failed:
    return Failed(cause=Cause.UNREACHABLE, why=why)
