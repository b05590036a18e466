"""A check of an app whose responses aiohttp does not take (L4): read as the proxy reads them.

An app that the proxy is patient with must not fail its checks for what its clients never see. Each such check
has a connection of its own.
"""

import asyncio

from balancer.connections.upstream_connection import INFORMATIONAL_LIMIT
from balancer.errors import MALFORMED_RESPONSE, ProtocolError
from balancer.health.result import Reply, Result
from balancer.http.body import LengthDecoder
from balancer.http.chunked import ChunkedDecoder
from balancer.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE
from balancer.http.head import ResponseHead
from balancer.http.patience import read_patiently

_READ = 64 * 1024
_HEAD_LIMIT = 256 * 1024  # bytes: how large heads may be is for the proxy to say
_COUNT_LIMIT = 10_000


def render_check(target: str, headers: list[tuple[str, str]]) -> bytes:
    """The request. `headers` name the Host among others."""
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


async def look_again(address: str, port: int, request: bytes, body_limit: int) -> tuple[int, bytes] | Reply:
    """Status and body, as far as `body_limit`; or how it failed once connected.

    Raises OSError where there is no connection to be had.
    """
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(request)
        return await _read(reader, body_limit)
    except ProtocolError as error:
        return Reply(Result.MALFORMED, 0, f"its response is not valid HTTP/1.1 ({error.detail})")
    except asyncio.IncompleteReadError:
        return Reply(Result.CLOSED, 0, "it closed the connection before its response was whole")
    except OSError as error:
        return Reply(Result.CLOSED, 0, f"the connection broke ({error.strerror or error})")
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, body_limit: int) -> tuple[int, bytes]:
    head, data = await _read_head(reader)
    length = NO_BODY if head.status < 200 else head.length
    if length == UNTIL_CLOSE:
        while len(data) < body_limit and (piece := await reader.read(_READ)):
            data += piece
        return head.status, data[:body_limit]
    decoder: ChunkedDecoder | LengthDecoder = LengthDecoder(length)
    if length == CHUNKED:
        decoder = ChunkedDecoder(MALFORMED_RESPONSE, _HEAD_LIMIT, patient=True)
    body = decoder.feed(data)
    while not decoder.done and len(body) < body_limit:
        body += decoder.feed(await _more(reader))
    return head.status, body[:body_limit]


async def _read_head(reader: asyncio.StreamReader) -> tuple[ResponseHead, bytes]:
    """The final head, or that of 101; and what came after it."""
    data = b""
    for _ in range(INFORMATIONAL_LIMIT + 1):
        while (read := read_patiently(data, b"GET", _HEAD_LIMIT, _COUNT_LIMIT)) is None:
            data += await _more(reader)
        head, end = read
        data = data[end:]
        if head.status >= 200 or head.status == 101:
            return head, data
    raise ProtocolError(MALFORMED_RESPONSE, f"more than {INFORMATIONAL_LIMIT} 1xx responses")


async def _more(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(_READ)
    if not data:
        raise asyncio.IncompleteReadError(b"", None)
    return data
