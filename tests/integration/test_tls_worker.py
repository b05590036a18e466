"""A worker process with a TLS listener: its descriptors, a change of certificates, and its drain."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from balancer.config.address import Address
from balancer.messages import Adopt, Drain, Drained, Fatal, FromWorker, LogLine, Ready, Release, TlsUpdate
from balancer.runtime.interpreter import started
from balancer.runtime.sockets import open_listeners
from balancer.runtime.worker_process import Ended, WorkerProcess
from balancer.telemetry.segment import Segment
from tests.fakes.messages import start_message, upstream_message
from tests.fakes.tls_client import tls_client
from tests.fakes.tls_specs import certificate, tls_spec
from tests.proxy.real_sockets import origin, read_head

pytestmark = pytest.mark.integration

PATIENCE = 20.0
ALERT = 21  # the type of a record (RFC 8446 section 5.1)
GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class OneWorker:
    """A worker of slot 0 out of two. `plain` and `tls` are the listening sockets, by slot."""

    def __init__(self, port: int) -> None:
        self.plain = open_listeners(Address("127.0.0.1", 0), 2)
        self.tls = open_listeners(Address("127.0.0.1", 0), 2)
        self.heard: asyncio.Queue[FromWorker] = asyncio.Queue()
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.segment = Segment.create(2)
        start = start_message(
            [upstream_message(1, host="127.0.0.1", port=port)],
            workers=2,
            tls=tls_spec(),
            limits={"max_connections": 100},
        )
        self.process = WorkerProcess(
            start,
            started([self.segment.fd, *(sock.fileno() for sock in (*self.plain, *self.tls))]),
            on_message=self.heard.put_nowait,
            on_ended=self.ended.set_result,
            on_error=lambda message, error: None,
        )

    @property
    def tls_port(self) -> int:
        return int(self.tls[0].getsockname()[1])

    async def hears(self, kind: type[FromWorker]) -> FromWorker:
        """The next message of that kind; none may say that something is wrong."""
        while True:
            message = await self.heard.get()
            assert not isinstance(message, Fatal), message
            if isinstance(message, kind):
                return message
            assert not (isinstance(message, LogLine) and message.level == "error"), message


@asynccontextmanager
async def one_worker() -> AsyncIterator[OneWorker]:
    async with asyncio.timeout(PATIENCE), origin(app) as port:
        made = OneWorker(port)
        try:
            await made.hears(Ready)
            made.process.send(Adopt(slot=1))
            yield made
            made.process.send(Drain())
            await made.hears(Drained)
            assert (await made.ended).exit_code == 0
        finally:
            made.process.kill()
            made.segment.close()
            for sock in (*made.plain, *made.tls):
                sock.close()


async def test_it_serves_tls_in_its_own_slot_and_in_the_one_that_it_adopts() -> None:
    async with one_worker() as worker:
        for _ in range(8):  # the kernel chooses the slot
            async with tls_client(worker.tls_port) as client:
                assert (await client.response(GET)).endswith(b"ok")
        reader, writer = await asyncio.open_connection(*worker.plain[0].getsockname())
        writer.write(GET)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_new_certificates_come_over_the_channel() -> None:
    async with one_worker() as worker:
        worker.process.send(TlsUpdate(revision=1, tls=tls_spec(certificate("shop.example", "new.example"))))
        while True:
            async with tls_client(worker.tls_port) as client:
                assert (await client.response(GET)).endswith(b"ok")
                if client.names() == {"shop.example", "new.example"}:
                    return


async def test_a_server_name_that_is_not_ascii_logs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async with one_worker() as worker:
        async with tls_client(worker.tls_port, begin=False) as client:
            hello = client.hello().replace(b"shop.example", b"\xff\xfeop.example")
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client.sock, hello)
            assert (await loop.sock_recv(client.sock, 100))[0] == ALERT
        worker.process.send(Release(slot=1))
    assert capfd.readouterr().err == ""


async def test_a_drain_serves_those_that_wait_in_the_queue_and_ends_silent_ones() -> None:
    async with one_worker() as worker:
        with socket.create_connection(("127.0.0.1", worker.tls_port), PATIENCE) as silent:
            async with tls_client(worker.tls_port) as busy:
                worker.process.send(Drain())
                assert (await busy.response(GET)).endswith(b"ok")
                assert await busy.rest() == b""
            silent.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""
