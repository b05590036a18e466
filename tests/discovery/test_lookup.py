"""Lookups: one address family, one at a time for each name, and a hanging one blocks no other."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from balancer.discovery.lookup import Answer, SystemResolver, resolve

V4, V6 = socket.AF_INET, socket.AF_INET6
NONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_DATA = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("v4", "v6", "expected"),
    [
        pytest.param(["10.0.0.3", "10.0.0.2"], NONE, Answer(("10.0.0.3", "10.0.0.2")), id="ipv4"),
        pytest.param(NO_DATA, ["fd00::2"], Answer(("fd00::2",)), id="ipv6"),
        pytest.param(["10.0.0.2"], ["fd00::2"], Answer(("10.0.0.2",)), id="dual_stack_is_ipv4"),
        pytest.param(["10.0.0.2", "10.0.0.2"], NONE, Answer(("10.0.0.2",)), id="distinct"),
        pytest.param(NONE, NONE, Answer(problem="Name or service not known"), id="unknown"),
        pytest.param(
            AGAIN,
            ["fd00::2"],
            Answer(problem="Temporary failure in name resolution"),
            id="trouble_with_ipv4_is_no_reason_for_ipv6",
        ),
        pytest.param(
            NO_DATA, AGAIN, Answer(problem="Temporary failure in name resolution"), id="trouble_with_ipv6"
        ),
        pytest.param(["0.0.0.0", "10.0.0.2"], NONE, Answer(("10.0.0.2",)), id="usable_ones"),
        pytest.param(
            ["0.0.0.0", "224.0.0.1"], NONE, Answer(problem="it has no usable address"), id="no_usable"
        ),
        pytest.param(
            UnicodeError("label too long"), NONE, Answer(problem="it is not a valid name"), id="no_name"
        ),
    ],
)
def test_a_name_has_the_addresses_of_one_family(
    v4: list[str] | Exception, v6: list[str] | Exception, expected: Answer
) -> None:
    def getaddrinfo(
        name: str, port: None, family: int, kind: int
    ) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
        found = {V4: v4, V6: v6}[socket.AddressFamily(family)]
        if isinstance(found, Exception):
            raise found
        return [(family, kind, socket.IPPROTO_TCP, "", (address, 0)) for address in found]

    assert resolve("app", getaddrinfo) == expected


def test_the_system_resolves_localhost() -> None:
    assert "127.0.0.1" in resolve("localhost").addresses


class Nameserver:
    """Blocks lookups of names that begin with `hang` until it is released."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, name: str) -> Answer:
        self.asked.append(name)
        if name.startswith("hang"):
            self.let_go.wait()
        return Answer((f"address of {name}",))


@contextmanager
def _resolver(nameserver: Nameserver, max_threads: int = 8) -> Iterator[SystemResolver]:
    """A resolver whose threads are ended after the test."""
    before = set(threading.enumerate())
    resolver = SystemResolver(nameserver, max_threads)
    try:
        yield resolver
    finally:
        nameserver.let_go.set()
        resolver.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
            assert not thread.is_alive()


async def test_a_hanging_name_blocks_no_other_and_is_not_looked_up_twice() -> None:
    nameserver = Nameserver()
    with _resolver(nameserver) as resolver:
        hanging = resolver.look_up("hang")
        assert resolver.look_up("hang") is hanging
        for _ in range(3):
            assert await resolver.look_up("app") == Answer(("address of app",))
        assert not hanging.done()
        nameserver.let_go.set()
        assert await hanging == Answer(("address of hang",))
        assert nameserver.asked == ["hang", "app", "app", "app"]


async def test_threads_are_reused() -> None:
    nameserver = Nameserver()
    before = threading.active_count()
    with _resolver(nameserver) as resolver:
        for number in range(20):
            await resolver.look_up(f"app{number}")
        assert threading.active_count() == before + 1


async def test_threads_are_bounded() -> None:
    nameserver = Nameserver()
    before = threading.active_count()
    with _resolver(nameserver, max_threads=2) as resolver:
        lookups = [resolver.look_up(name) for name in ("hang1", "hang2", "app1", "app2")]
        assert threading.active_count() == before + 2
        nameserver.let_go.set()
        answers = await asyncio.gather(*lookups)
        assert [answer.addresses[0].split()[-1] for answer in answers] == ["hang1", "hang2", "app1", "app2"]


async def test_a_failure_to_start_a_thread_is_a_failed_lookup() -> None:
    with _resolver(Nameserver(), max_threads=0) as resolver:
        for _ in range(2):
            assert await resolver.look_up("app") == Answer(problem="no thread could be started for it")


async def test_a_bug_is_raised() -> None:
    def broken(name: str) -> Answer:
        raise ZeroDivisionError

    resolver = SystemResolver(broken)
    with pytest.raises(ZeroDivisionError):
        await resolver.look_up("app")
    resolver.close()


def test_a_hanging_lookup_does_not_delay_the_exit() -> None:
    code = """if True:
        import asyncio, threading
        from balancer.discovery.lookup import SystemResolver
        begun = threading.Event()
        def hang(name):
            begun.set()
            threading.Event().wait()
        async def main():
            resolver = SystemResolver(hang)
            lookup = resolver.look_up("app")
            begun.wait()
            resolver.close()
            print(lookup.done())
        asyncio.run(main())
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert (run.stdout, run.stderr) == ("False\n", "")
