"""Replaces the running program by a new one (L7): another version, or settings that no reload takes up.

The same command is executed again, as a child that inherits the listening sockets. Nothing else is needed: no
path, no credentials. Only when the new program serves does this one finish; until then it goes on as if
nothing had happened.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from balancer.errors import BalancerError
from balancer.runtime import signals
from balancer.runtime.inheritance import Failed, Inheritance, Taken, decode_answer
from balancer.runtime.succeeds import VARIABLE
from balancer.spec.part import DecodeError, encode

AS_PID_1 = (
    "it runs as PID 1, and a container ends with its PID 1: start a second container behind the same name or "
    "address, then stop this one (docs/high-availability.md)"
)


class NotReplacedError(BalancerError):
    """The new program does not serve: a sentence with the reason. The old one goes on."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The process of the new program, and the listeners that it has taken over."""

    pid: int
    taken: Taken


_LONGEST = 1 << 20  # bytes of an answer
Command = Callable[[], Sequence[str]]


def own_command() -> Sequence[str]:
    """The command of this process, to be executed anew: `pip install` may have replaced what is behind it."""
    return [sys.executable, *sys.orig_argv[1:]]


async def replace(
    inheritance: Inheritance,
    ready: float,
    command: Command = own_command,
    environ: Mapping[str, str] = os.environ,
    pid: int | None = None,
) -> Replaced:
    """Start the new program, and wait until it serves, `ready` seconds at most. Raises NotReplacedError."""
    if (os.getpid() if pid is None else pid) == 1:
        raise NotReplacedError(AS_PID_1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        passed = [theirs.fileno(), *inheritance.admin.descriptors]
        passed += [number for each in inheritance.listeners for number in each.descriptors]
        process = _started(command(), passed, {**environ, VARIABLE: str(theirs.fileno())})
        theirs.close()
        try:
            async with asyncio.timeout(ready):
                taken = await _answer(ours, encode(inheritance) + b"\n")
        except TimeoutError:
            raise NotReplacedError(
                await _ended(process, f"it did not serve within {ready:g} s (RELOAD__READY)")
            ) from None
        except NotReplacedError as error:
            raise NotReplacedError(await _ended(process, str(error))) from None
        except BaseException:  # given up, or a mistake here
            await _ended(process, "")
            raise
    process.returncode = 0  # nobody waits for it here: else its destructor warns
    return Replaced(process.pid, taken)


def _started(
    command: Sequence[str], passed: Sequence[int], environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    try:
        with signals.held():  # until it can handle them: one to the whole process group would end it
            return subprocess.Popen(command, pass_fds=passed, env=environ)
    except OSError as error:
        raise NotReplacedError(f"it cannot be started: {error.strerror or error}") from None


async def _answer(sock: socket.socket, line: bytes) -> Taken:
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_LONGEST)
    try:
        writer.write(line)
        answer = await reader.readline()
    except (OSError, ValueError):  # it is gone, or says too much
        answer = b""
    finally:
        writer.close()
    if not answer:
        raise NotReplacedError("it ended before it served; its last lines on stderr say why")
    try:
        said = decode_answer(answer)
    except DecodeError as error:
        raise NotReplacedError(f"it is of another kind: {error}") from None
    if isinstance(said, Failed):
        raise NotReplacedError(said.error)
    return said


async def _ended(process: "subprocess.Popen[bytes]", why: str) -> str:
    """End what is left of the new program."""
    process.kill()
    await asyncio.to_thread(process.wait)
    return why
