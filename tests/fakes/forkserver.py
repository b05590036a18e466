"""Starts modules by forking a process that has already imported them, as imports take most of a start's time.

The started process is like any other, with its own environment and output; a balancer's workers are fresh
interpreters, as always. The forkserver ends when the process that opened it does.
"""

import asyncio
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import NoReturn

PRELOADED = (
    "balancer.runtime.launch",
    "balancer.runtime.planning",
    "balancer.console.status",
    "loadtests.app.serving",
)
PATIENCE = 30.0  # seconds
_MESSAGE = 1 << 17  # bytes; an environment is far below


class Child:
    """A started process. `exit_fd` becomes readable when it has ended."""

    def __init__(self, pid: int, exit_fd: int) -> None:
        self.pid = pid
        self.exit_fd = exit_fd
        self.returncode: int | None = None  # if known; negative: the signal that ended it

    def reap(self) -> int:
        """The exit code. Blocks until the process has ended."""
        if self.returncode is None:
            self.returncode = int(os.read(self.exit_fd, _MESSAGE))
            os.close(self.exit_fd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send SIGKILL, unless the process is known to have ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


class Process:
    """A child with its output as streams, for asyncio; named as in asyncio."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.pid = child.pid
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self._stdout_pipe: asyncio.ReadTransport | None = None
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(child.exit_fd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._child.exit_fd)
        self._child.reap()
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        return self._child.returncode

    async def connect(self, stdout: int, stderr: int) -> None:
        """Read the outputs from these descriptors."""
        self._stdout_pipe = await _read(stdout, self.stdout)
        await _read(stderr, self.stderr)

    @contextmanager
    def stdout_unread(self) -> Iterator[None]:
        """Meanwhile nobody reads its stdout."""
        assert self._stdout_pipe is not None
        self._stdout_pipe.pause_reading()
        try:
            yield
        finally:
            self._stdout_pipe.resume_reading()

    async def wait(self) -> int:
        await self._ended.wait()
        return self._child.reap()

    async def communicate(self) -> tuple[bytes, bytes]:
        """The rest of both outputs, once the process has ended."""
        stdout, stderr, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        self._child.send_signal(number)

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)


class Forkserver:
    """The forking process, as seen by the process that starts others."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def start(
        self, module: str, *arguments: str, environ: Mapping[str, str], stdout: int, stderr: int
    ) -> Child:
        """`python -m module arguments...`; the caller closes the two descriptors."""
        ours, theirs = os.pipe()
        message = json.dumps([module, arguments, dict(environ)]).encode()
        try:
            with self._asking:
                socket.send_fds(self._control, [message], [stdout, stderr, theirs])
                return Child(int(self._control.recv(_MESSAGE)), ours)
        finally:
            os.close(theirs)

    def close(self) -> None:
        """Start no more processes; the started ones go on."""
        self._control.close()
        self._process.wait()


@cache
def forkserver() -> Forkserver:
    """The forkserver of this process."""
    opened = Forkserver()
    atexit.register(opened.close)
    return opened


async def start(module: str, *arguments: str, environ: Mapping[str, str]) -> Process:
    """Like `asyncio.create_subprocess_exec`, with both outputs as pipes."""
    (our_stdout, stdout), (our_stderr, stderr) = os.pipe(), os.pipe()
    try:
        child = forkserver().start(module, *arguments, environ=environ, stdout=stdout, stderr=stderr)
    finally:
        os.close(stdout)
        os.close(stderr)
    process = Process(child)
    await process.connect(our_stdout, our_stderr)
    return process


async def _read(end: int, stream: asyncio.StreamReader) -> asyncio.ReadTransport:
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        partial(asyncio.StreamReaderProtocol, stream), os.fdopen(end, "rb", 0)
    )
    return transport


def run(module: str, *arguments: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Like `subprocess.run`: start it, and wait for its end."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        output = {"stdout": stdout.fileno(), "stderr": stderr.fileno()}
        child = forkserver().start(module, *arguments, environ=environ, **output)
        if not select.select([child.exit_fd], [], [], PATIENCE)[0]:
            child.send_signal(signal.SIGKILL)
            child.reap()
            raise TimeoutError(f"{module} {arguments} has not ended")
        code = child.reap()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess([module, *arguments], code, stdout.read(), stderr.read())


def _serve(control: socket.socket) -> None:
    """Fork on request, and report how children ended, until the requesting end is closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    key.data()
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE, 3, socket.MSG_CMSG_CLOEXEC)
                if not message:
                    return
                pid = os.fork()
                if not pid:
                    selector.close()
                    control.close()
                    _become(*json.loads(message), *descriptors)
                *output, told = descriptors
                for descriptor in output:
                    os.close(descriptor)
                pidfd = os.pidfd_open(pid)
                selector.register(pidfd, selectors.EVENT_READ, _reaping(selector, pid, pidfd, told))
                control.send(str(pid).encode())


def _reaping(selector: selectors.BaseSelector, pid: int, pidfd: int, told: int) -> Callable[[], None]:
    def reap() -> None:
        selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)

    return reap


def _become(
    module: str, arguments: list[str], environ: dict[str, str], stdout: int, stderr: int, told: int
) -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr, told):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environ)
    # A fresh interpreter would search there first; this one has its parent's path.
    sys.path[:0] = [place for place in environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.argv = [module, *arguments]
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    # An INT typed at the terminal is for the tests; this process ends when their end of the channel does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
