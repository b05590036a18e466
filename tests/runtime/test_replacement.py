"""When the program is not replaced, and what the service manager is told."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from balancer.config.address import Address
from balancer.runtime.inheritance import HandedListener, Inheritance
from balancer.runtime.kept import Kept
from balancer.runtime.notify import READY, main_process, notify
from balancer.runtime.replacement import NotReplacedError, replace

pytestmark = pytest.mark.integration


@pytest.fixture
def inheritance() -> Iterator[Inheritance]:
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as admin:
        listeners = [
            HandedListener(address=Address("127.0.0.1", 0), descriptors=(each.fileno(),))
            for each in (plain, admin)
        ]
        yield Inheritance(listeners=(listeners[0],), admin=listeners[1], via="", kept=Kept())


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_pid_1_refuses_and_says_what_to_do_instead(inheritance: Inheritance) -> None:
    with pytest.raises(NotReplacedError, match=r"PID 1.*start a second container"):
        await replace(inheritance, 5.0, lambda: python("raise SystemExit"), pid=1)


FAILURES = {
    "it ends": ("raise SystemExit(3)", "it ended before it served"),
    "it says something else": (
        "import os, socket; socket.socket(fileno=int(os.environ['_BALANCER_SUCCEEDS'])).sendall(b'hello\\n')",
        "it is of another kind",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_the_reason_is_told_and_the_process_is_gone(inheritance: Inheritance, case: str) -> None:
    code, said = FAILURES[case]
    with pytest.raises(NotReplacedError, match=said):
        await replace(inheritance, 20.0, lambda: python(code), pid=2)


async def test_one_that_does_not_serve_in_time_is_ended(inheritance: Inheritance, tmp_path: Path) -> None:
    begun = tmp_path / "pid"
    code = (
        f"import os, time; open({str(begun)!r} + '.new', 'w').write(str(os.getpid())); "
        f"os.replace({str(begun)!r} + '.new', {str(begun)!r}); time.sleep(600)"
    )
    with pytest.raises(NotReplacedError, match=r"did not serve within 2 s \(RELOAD__READY\)"):
        await replace(inheritance, 2.0, lambda: python(code), pid=2)
    pid = int(await asyncio.to_thread(begun.read_text))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_command_that_is_gone_is_named(inheritance: Inheritance) -> None:
    with pytest.raises(NotReplacedError, match="it cannot be started: No such file"):
        await replace(inheritance, 5.0, lambda: ["/nowhere/balancer"], pid=2)


@pytest.mark.parametrize("is_abstract", [False, True], ids=["a path", "an abstract name"])
def test_the_service_manager_is_told(tmp_path: Path, is_abstract: bool) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path if is_abstract else path)
        manager.settimeout(5.0)
        environ = {"NOTIFY_SOCKET": "@" + path if is_abstract else path}
        for text in (READY, main_process(4711)):
            notify(text, environ)
            assert manager.recv(1000).decode() == text


def test_without_a_service_manager_nothing_is_told(tmp_path: Path) -> None:
    notify(READY, {})
    notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
