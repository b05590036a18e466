"""A TLS ClientHello made by hand: it can offer what OpenSSL no longer has (RFC 5246 7.4.1, RFC 8446 4.1)."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
ALERTS = {
    40: "handshake_failure",
    70: "protocol_version",
    71: "insufficient_security",
    86: "inappropriate_fallback",
    112: "unrecognized_name",
    120: "no_application_protocol",
}
CLOSED = "closed"  # without an alert: what does not even look like TLS gets none
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2
_SIGNATURES = (0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0203, 0x0201)
_GROUPS = (0x001D, 0x0017)  # X25519, P-256
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says first: an alert, or its choice. `extensions` are numbers with their data."""

    alert: str = ""
    version: int = 0
    suite: int = 0
    compression: int = 0
    extensions: tuple[tuple[int, bytes], ...] = ()


def client_hello(
    version: int,
    suites: Sequence[int],
    name: str,
    *,
    compressions: bytes = b"\0",
    protocols: Sequence[str] = (),
    padding: int = 0,
) -> bytes:
    """The record with a ClientHello that offers one version of TLS; `padding` is in bytes."""
    host = name.encode()
    extensions = [
        (0, _two(b"\0" + _two(host))),
        (10, _two(_words(_GROUPS))),
        (11, _one(b"\0")),
        (13, _two(_words(_SIGNATURES))),
        (0xFF01, _one(b"")),
    ]
    if protocols:
        extensions.append((16, _two(b"".join(_one(one.encode()) for one in protocols))))
    if version == TLS_1_3:
        extensions.append((43, _one(_words([TLS_1_3]))))
        extensions.append((45, _one(b"\1")))
        extensions.append((51, _two(_words([_GROUPS[0]]) + _two(os.urandom(32)))))
    if padding:
        extensions.append((21, bytes(padding)))
    body = (
        min(version, TLS_1_2).to_bytes(2)
        + os.urandom(32)
        + _one(b"")
        + _two(_words(suites))
        + _one(compressions)
        + _two(b"".join(kind.to_bytes(2) + _two(data) for kind, data in extensions))
    )
    message = b"\1" + len(body).to_bytes(3) + body
    return bytes([_HANDSHAKE]) + min(version, TLS_1_0).to_bytes(2) + _two(message)


async def said(port: int, hello: bytes, pieces: int = 1) -> Reply:
    """The first answer to a ClientHello that comes in so many pieces; CLOSED if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        size = -(-len(hello) // pieces)
        for start in range(0, len(hello), size):
            writer.write(hello[start : start + size])
            if pieces > 1:
                await asyncio.sleep(0.01)  # each in a packet of its own
        async with asyncio.timeout(_PATIENCE):
            head = await reader.readexactly(5)
            data = await reader.readexactly(int.from_bytes(head[3:5]))
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return Reply(CLOSED)
    finally:
        writer.close()
    if head[0] == _ALERT:
        return Reply(alert=ALERTS.get(data[1], str(data[1])))
    assert (head[0], data[0]) == (_HANDSHAKE, _SERVER_HELLO)
    return _choice(data[4 : 4 + int.from_bytes(data[1:4])])


def _choice(hello: bytes) -> Reply:
    version = int.from_bytes(hello[:2])
    at = 35 + hello[34]  # behind the random and the session id
    suite, compression = int.from_bytes(hello[at : at + 2]), hello[at + 2]
    at += 5
    found = []
    while at < len(hello):
        kind, length = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
        found.append((kind, hello[at + 4 : at + 4 + length]))
        at += 4 + length
    chosen = dict(found).get(43)
    return Reply("", int.from_bytes(chosen) if chosen else version, suite, compression, tuple(found))


def _words(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(2) for number in numbers)


def _one(data: bytes) -> bytes:
    return len(data).to_bytes(1) + data


def _two(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
