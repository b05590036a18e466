"""WebSockets on raw sockets: through a balancer each end gets the same bytes as directly."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from tests.fakes.instance import PATIENCE, until
from tests.integration.conftest import Stage

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Origin: http://a.example\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v2, v1\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v1\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
PASSED_ON = (b"upgrade", b"sec-websocket-", b"origin")
RANDOM = Random(2)
# What an end might take offence at; a tunnel must not.
ODD_FRAMES = {
    "masked": b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    "compressed, by its first reserved bit": b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
    "a reserved opcode and all reserved bits": b"\xf3\x02ok",
    "a length in more bytes than needed": b"\x82\x7f" + (3).to_bytes(8, "big") + b"abc",
    "a Close frame without a code": b"\x88\x00",
    "a Close frame with a code that nobody may send": b"\x88\x02\x03\xed",
    "pings and pongs": b"\x89\x04ping\x8a\x00\x89\x7d" + b"p" * 125,
    "a large frame": b"\x82\x7f" + (300_000).to_bytes(8, "big") + RANDOM.randbytes(300_000),
    "no frames at all": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + RANDOM.randbytes(5000),
}
MUCH = 64 << 20
BLOCK = RANDOM.randbytes(1 << 16)


class Line:
    """One end of a connection, byte by byte."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def hear(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = bytearray()
        while len(data) < size:
            piece = await self._loop.sock_recv(self.sock, size - len(data))
            assert piece, "it has ended"
            data += piece
        return bytes(data)

    async def head(self) -> bytes:
        """One head, and not a byte more."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += await self.hear(1)
        return data

    async def rest(self) -> bytes:
        """All until the FIN; an error if the end is a reset."""
        data = bytearray()
        while piece := await self._loop.sock_recv(self.sock, 1 << 16):
            data += piece
        return bytes(data)

    def fin(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


# A play with both ends, client and server, in one function: what they have seen.
Scene = Callable[[Line, Line], Awaitable[Sequence[object]]]


@asynccontextmanager
async def joined(
    stage: Stage, request: bytes = HANDSHAKE, *, direct: bool = False
) -> AsyncIterator[tuple[Line, Line]]:
    """A client that has sent `request`, to the balancer or directly, and the server that has accepted it."""
    loop = asyncio.get_running_loop()
    port = stage.app_port if direct else stage.balancer.port
    async with asyncio.timeout(PATIENCE):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setblocking(False)
            await loop.sock_sendall(client, request)
            server, _ = await loop.sock_accept(stage.listening)
            with server:
                yield Line(client), Line(server)


async def played(stage: Stage, scene: Scene, request: bytes = HANDSHAKE) -> Sequence[object]:
    """Play it directly and through the balancer; returns what was seen, which is the same both times."""
    async with joined(stage, request, direct=True) as ends:
        seen = await scene(*ends)
    async with joined(stage, request) as ends:
        assert await scene(*ends) == seen
    return seen


async def switch(client: Line, server: Line) -> None:
    """The handshake."""
    await server.head()
    await server.say(SWITCH)
    await client.head()


def fields(head: bytes) -> list[bytes]:
    """The lines of a head that a handshake is about."""
    return sorted(line for line in head.split(b"\r\n") if line.lower().startswith(PASSED_ON))


async def test_the_fields_of_a_handshake_arrive_unchanged(stage: Stage) -> None:
    async def scene(client: Line, server: Line) -> Sequence[object]:
        asked = fields(await server.head())
        await server.say(SWITCH)
        return [*asked, *fields(await client.head())]

    assert len(await played(stage, scene)) == 10


async def test_data_in_the_packet_of_the_101(stage: Stage) -> None:
    async def scene(client: Line, server: Line) -> Sequence[object]:
        await server.head()
        await server.say(SWITCH + b"\x81\x05first")
        await client.head()
        return [await client.hear(7)]

    assert await played(stage, scene) == [b"\x81\x05first"]


async def test_data_behind_the_handshake(stage: Stage) -> None:
    """A client that does not wait for the 101."""
    frame = ODD_FRAMES["masked"]

    async def scene(client: Line, server: Line) -> Sequence[object]:
        await server.head()
        await client.say(b"second")
        await server.say(SWITCH)
        await client.head()
        return [await server.hear(len(frame) + 6)]

    assert await played(stage, scene, HANDSHAKE + frame) == [frame + b"second"]


@pytest.mark.parametrize("case", ODD_FRAMES)
@pytest.mark.parametrize("speaker", ["client", "app"])
async def test_bytes_are_not_touched(stage: Stage, case: str, speaker: str) -> None:
    data = ODD_FRAMES[case] + b"end"

    async def scene(client: Line, server: Line) -> Sequence[object]:
        await switch(client, server)
        one, other = (client, server) if speaker == "client" else (server, client)
        _, heard = await asyncio.gather(one.say(data), other.hear(len(data)))
        await other.say(b"\x81\x02ok")
        return [heard, await one.hear(4)]

    assert await played(stage, scene) == [data, b"\x81\x02ok"]


@pytest.mark.parametrize("first", ["client", "app"])
async def test_an_end_that_has_sent_its_fin_gets_the_rest(stage: Stage, first: str) -> None:
    rest = BLOCK * 16

    async def scene(client: Line, server: Line) -> Sequence[object]:
        await switch(client, server)
        one, other = (client, server) if first == "client" else (server, client)
        await one.say(b"bye")
        one.fin()
        heard = await other.rest()
        _, heard_then = await asyncio.gather(other.say(rest), one.hear(len(rest)))
        other.fin()
        return [heard, heard_then == rest, await one.rest()]

    assert await played(stage, scene) == [b"bye", True, b""]


@pytest.mark.parametrize("first", ["client", "app"])
async def test_a_reset_becomes_a_fin_behind_all_that_came_before(stage: Stage, first: str) -> None:
    """Not as directly, and why: docs/decisions/0038-fin-from-a-client.md."""
    async with joined(stage) as (client, server):
        await switch(client, server)
        one, other = (client, server) if first == "client" else (server, client)
        _, heard = await asyncio.gather(one.say(BLOCK), other.hear(len(BLOCK)))
        assert heard == BLOCK
        one.reset()
        assert await other.rest() == b""


REFUSALS = {
    "403 with a body": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nX-Why: because\r\n\r\nnot you\n",
    "401": b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm="a"\r\n\r\n',
    "426, with the version that it speaks": b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n"
    b"Sec-WebSocket-Version: 8\r\n\r\nno",
    "200, of an app without WebSocket": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_handshake_is_a_response(stage: Stage, case: str) -> None:
    """Without a Connection: close: the client's connection goes on."""
    head, _, body = REFUSALS[case].partition(b"\r\n\r\n")

    async def scene(client: Line, server: Line) -> Sequence[object]:
        await server.head()
        await server.say(REFUSALS[case])
        got = (await client.head()).split(b"\r\n")
        heard = await client.hear(len(body))
        return [sorted(line for line in got if not line.startswith((b"Date: ", b"Via: "))), heard]

    lines = sorted([*head.split(b"\r\n"), b"", b""])
    assert await played(stage, scene) == [lines, body]


WRONG = {
    "to another protocol": SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "without Upgrade": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_101_that_was_not_asked_for_is_502(stage: Stage, case: str) -> None:
    async with joined(stage) as (client, server):
        await server.head()
        await server.say(WRONG[case] + b"\x81\x02hi")
        assert (await client.head()).startswith(b"HTTP/1.1 502 ")


async def test_an_upgrade_of_http_1_0_is_a_plain_request(stage: Stage) -> None:
    """RFC 9110 section 7.8: a server ignores Upgrade in an HTTP/1.0 request."""
    async with joined(stage, HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0")) as (client, server):
        lines = (await server.head()).lower().split(b"\r\n")
        assert not [line for line in lines if line.startswith((b"upgrade:", b"connection:"))]
        await server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert await client.hear(2) == b"ok"


async def test_small_frames_keep_their_order_in_any_packets(stage: Stage) -> None:
    sizes = RANDOM.choices(range(126), k=2_000)
    data = b"".join(b"\x82" + bytes([size]) + RANDOM.randbytes(size) for size in sizes)

    async def say(line: Line) -> None:
        random = Random(3)
        place = 0
        while place < len(data):
            size = random.choice([1, 2, 3, 50, 700, 5000])
            await line.say(data[place : place + size])
            place += size

    async def scene(client: Line, server: Line) -> Sequence[object]:
        await switch(client, server)
        hearing = server.hear(len(data)), client.hear(len(data))
        _, _, at_server, at_client = await asyncio.gather(say(client), say(server), *hearing)
        return [at_server == data, at_client == data]

    assert await played(stage, scene) == [True, True]


@pytest.mark.parametrize("reader", ["client", "app"])
async def test_an_end_that_reads_slowly_does_not_fill_the_balancers_memory(stage: Stage, reader: str) -> None:
    """What it does not take stays in the kernels, and with the sender."""
    (worker,) = stage.balancer.workers()
    async with joined(stage) as (client, server):
        await switch(client, server)
        one, other = (client, server) if reader == "app" else (server, client)
        before = resident(worker)
        sent = last = 0

        async def say() -> None:
            nonlocal sent
            while sent < MUCH:
                await one.say(BLOCK)
                sent += len(BLOCK)

        async def stands_still() -> bool:
            nonlocal last
            last, moved = sent, sent - last
            return sent > 0 and not moved

        saying = asyncio.create_task(say())
        await until(stands_still)
        assert sent < MUCH
        most = resident(worker)
        for number in range(MUCH // len(BLOCK)):
            assert await other.hear(len(BLOCK)) == BLOCK
            if number % 32 == 0:
                most = max(most, resident(worker))
        await saying
        assert most - before < 4 << 20


def resident(pid: int) -> int:
    """Bytes of memory that a process uses."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
