"""WebSockets by a library: through a balancer, both ends see the same as directly (RFC 6455)."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from random import Random

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.fakes.instance import PATIENCE, running
from tests.fakes.websocket_ends import End, Play, acted, app, closing, hears, joined
from tests.integration.conftest import Stage

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SETTINGS = {"HEALTH_CHECK__ENABLED": "false"}
RANDOM = Random(1)
LARGE = RANDOM.randbytes(16 << 20)
TEXT = "Füße, 東京, " * 20_000
FRAGMENTS = [b"one", b"", RANDOM.randbytes(70_000), b"x" * 200, b"last"]
SMALL = [RANDOM.randbytes(RANDOM.choice([0, 1, 2, 5, 125, 126, 300])) for _ in range(3_000)]


async def says_nothing(websocket: Connection) -> Sequence[object]:
    return await hears(websocket)


async def echoes(websocket: Connection) -> Sequence[object]:
    """Each message as it came; returns how it ended."""
    async for message in websocket:
        await websocket.send(message)
    return closing(websocket)


def asks(*messages: str | bytes) -> End:
    """Sends each, and compares it with its echo."""

    async def end(websocket: Connection) -> Sequence[object]:
        same = []
        for message in messages:
            await websocket.send(message)
            same.append(await websocket.recv() == message)
        return same

    return end


async def sends_fragments(websocket: Connection) -> Sequence[object]:
    """One message in frames of its own, with a ping between any two, that is answered before the next one."""
    pings = 0

    async def fragments() -> AsyncIterator[bytes]:
        nonlocal pings
        for fragment in FRAGMENTS:
            yield fragment
            await (await websocket.ping(fragment[:100]))
            pings += 1

    await websocket.send(fragments())
    return [pings, *await hears(websocket)]


async def takes_fragments(websocket: Connection) -> Sequence[object]:
    """Returns the message frame by frame."""
    return [fragment async for fragment in websocket.recv_streaming()]


async def both_send_fragments(websocket: Connection) -> Sequence[object]:
    sent, taken = await asyncio.gather(_fragments_only(websocket), takes_fragments(websocket))
    return [sent, taken]


async def _fragments_only(websocket: Connection) -> int:
    async def fragments() -> AsyncIterator[bytes]:
        for fragment in FRAGMENTS:
            yield fragment
            await (await websocket.ping())

    await websocket.send(fragments())
    return len(FRAGMENTS)


async def takes_large(websocket: Connection) -> Sequence[object]:
    """A large message, and one back."""
    message = await websocket.recv(decode=False)
    await websocket.send(LARGE)
    return [len(message), hashlib.sha256(message).digest(), *await hears(websocket)]


async def sends_large(websocket: Connection) -> Sequence[object]:
    await websocket.send(LARGE)
    return [await websocket.recv() == LARGE]


async def compresses(websocket: Connection) -> Sequence[object]:
    """Returns what was agreed on as well."""
    assert isinstance(websocket, ClientConnection)
    assert websocket.response is not None
    extensions = websocket.response.headers.get_all("Sec-WebSocket-Extensions")
    return [*extensions, *await asks(TEXT, "", TEXT, RANDOM_TEXT, LARGE[: 1 << 20])(websocket)]


RANDOM_TEXT = LARGE[:300_000].hex()


async def sends_many(websocket: Connection) -> Sequence[object]:
    """Many small messages, while as many come."""

    async def send() -> None:
        for message in SMALL:
            await websocket.send(message)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        heard = [await websocket.recv() for _ in SMALL]
    return [heard == SMALL]


async def offers(websocket: Connection) -> Sequence[object]:
    return [websocket.subprotocol]


async def notes_the_offer(websocket: Connection) -> Sequence[object]:
    """Returns the fields of the handshake as the app gets them."""
    assert isinstance(websocket, ServerConnection)
    assert websocket.request is not None
    fields = websocket.request.headers
    names = (
        "Upgrade",
        "Origin",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Version",
    )
    return [websocket.subprotocol, *(fields.get_all(name) for name in names)]


def closes(code: int, reason: str) -> End:
    async def end(websocket: Connection) -> Sequence[object]:
        await websocket.send("before")
        await websocket.close(code, reason)
        return closing(websocket)

    return end


async def sends_a_fin(websocket: Connection) -> Sequence[object]:
    """An end without a Close frame, behind a message."""
    await websocket.send("before")
    websocket.transport.close()
    await websocket.wait_closed()
    return []


async def sends_a_reset(websocket: Connection) -> Sequence[object]:
    """The same, once the message has been answered: a reset may overtake what came before it."""
    await websocket.send("before")
    await websocket.recv()
    sock = websocket.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    websocket.transport.abort()
    await websocket.wait_closed()
    return []


async def answers_once(websocket: Connection) -> Sequence[object]:
    message = await websocket.recv()
    await websocket.send("answer")
    return [message, *await hears(websocket)]


def both_ways(name: str, one: End, other: End, **options: object) -> dict[str, Play]:
    """The play with its parts given either way."""
    return {
        f"{name}, client to app": Play(one, other, dict(options)),
        f"{name}, app to client": Play(other, one, dict(options)),
    }


PLAYS: dict[str, Play] = {
    **both_ways("fragments with pings between", sends_fragments, takes_fragments, compression=None),
    **both_ways("compressed fragments with pings between", sends_fragments, takes_fragments),
    "fragments both ways": Play(both_send_fragments, both_send_fragments, {"compression": None}),
    "16 MiB both ways": Play(sends_large, takes_large, {"compression": None}),
    "permessage-deflate": Play(compresses, echoes, {"compression": "deflate"}),
    "deflate that only one end offers": Play(compresses, echoes, of_server={"compression": None}),
    "small messages both ways": Play(sends_many, sends_many, {"compression": None}),
    "a subprotocol": Play(
        offers,
        notes_the_offer,
        of_client={"subprotocols": [Subprotocol("v2"), Subprotocol("v1")], "origin": "http://a.example"},
        of_server={"subprotocols": [Subprotocol("v1")]},
    ),
    **both_ways("a FIN without a Close frame", sends_a_fin, says_nothing),
    **both_ways("a reset", sends_a_reset, answers_once),
}
CODES = {
    "1000": (1000, ""),
    "1001": (1001, "going away"),
    "1008": (1008, "Größe 东"),
    "1011, with the longest reason": (1011, "x" * 123),
    "1012": (1012, ""),
    "3000": (3000, "registered"),
    "4999": (4999, "private"),
}
for name, (code, reason) in CODES.items():
    PLAYS.update(both_ways(f"code {name}", closes(code, reason), says_nothing))


@pytest.mark.parametrize("name", PLAYS)
async def test_both_ends_see_the_same_as_directly(stage: Stage, name: str) -> None:
    play = PLAYS[name]
    async with app(play, stage.listening) as server:
        direct = await acted(play, server.port, server.saw)
        assert await acted(play, stage.balancer.port, server.saw) == direct


@pytest.mark.parametrize("status", [401, 403, 426, 503])
async def test_a_refused_handshake_reaches_the_client_with_its_body(stage: Stage, status: int) -> None:
    async def refuses(websocket: ServerConnection, request: Request) -> Response:
        response = websocket.respond(status, f"not you: {status}\n")
        response.headers["X-Why"] = "because"
        return response

    async def handshake(port: int) -> list[object]:
        with pytest.raises(InvalidStatus) as caught:
            await joined(play, port)
        response = caught.value.response
        return [response.status_code, response.headers["X-Why"], response.body]

    play = Play(says_nothing, says_nothing, of_server={"process_request": refuses})
    async with app(play, stage.listening) as server:
        direct = await handshake(server.port)
        assert direct == [status, "because", f"not you: {status}\n".encode()]
        assert await handshake(stage.balancer.port) == direct


async def test_pings_keep_a_silent_websocket_open_beyond_tunnel_idle() -> None:
    async def pings(websocket: Connection) -> Sequence[object]:
        for _ in range(20):
            await (await websocket.ping())
            await asyncio.sleep(0.1)
        await websocket.send("still here")
        return [await websocket.recv()]

    play = Play(pings, echoes)
    async with (
        app(play) as server,
        running(
            UPSTREAMS=f"127.0.0.1:{server.port}", TIMEOUTS__TUNNEL_IDLE="1s", TIMEOUTS__IDLE="1s", **SETTINGS
        ) as balancer,
    ):
        assert await acted(play, balancer.port, server.saw) == [["still here"], (1000, "")]


async def test_a_websocket_without_pings_ends_after_tunnel_idle() -> None:
    play = Play(says_nothing, says_nothing)
    async with (
        app(play) as server,
        running(UPSTREAMS=f"127.0.0.1:{server.port}", TIMEOUTS__TUNNEL_IDLE="250ms", **SETTINGS) as balancer,
        asyncio.timeout(PATIENCE),
    ):
        assert await acted(play, balancer.port, server.saw) == [[1006, ""], [1006, ""]]
