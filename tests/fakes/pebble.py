"""pebble, Let's Encrypt's server for tests, with the names of the test's own, and a front that can be down.

    balancer ──https──> Front ──https──> pebble ──DNS──> Names
       ^──── http, and TLS with acme-tls/1 ────┘

The front counts what the balancer asks for, and can answer in pebble's place: pebble has no rate limits.
"""

import asyncio
import json
import os
import random
import re
import socket
import ssl
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.https import Authority
from tests.fakes.tools import tool

PATIENCE = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ATTEMPTS = 5  # to find free ports for pebble, which binds them itself


class Names(asyncio.DatagramProtocol):
    """A DNS server (RFC 1035): every name is at 127.0.0.1."""

    transport: asyncio.DatagramTransport

    @classmethod
    async def open(cls) -> "Names":
        loop = asyncio.get_running_loop()
        _, names = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        return names

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5  # of the question: name, type, class
        is_address = data[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c" + data[end - 4 : end] + bytes(4) + b"\0\4\x7f\0\0\1" if is_address else b""
        counts = b"\0\1" + is_address.to_bytes(2, "big") + bytes(4)
        self.transport.sendto(data[:2] + b"\x81\x80" + counts + data[12:end] + answer, addr)


@dataclass
class Front:
    """An ACME server in front of pebble. `open`: before it is set, requests wait. `down`: it accepts, and
    resets. It answers the next orders by itself, one for each of `problems`. `asked` are the paths of all
    requests, `bad_nonces` the nonces that pebble refused."""

    context: ssl.SSLContext
    trusting: ssl.SSLContext
    upstream: int = 0
    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    down: bool = False
    problems: list[tuple[int, str, str]] = field(default_factory=list)  # status, type, detail
    retry_after: str = "7200"
    bad_nonces: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def orders(self) -> int:
        """Certificates that were ordered."""
        return sum("order-plz" in path for path in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.asked.append(head.split(b" ")[1].decode())
        await self.open.wait()
        if self.down:
            writer.transport.abort()
            return
        if self.problems and "order-plz" in self.asked[-1]:
            writer.write(self._refusal(*self.problems.pop(0)))
            return
        theirs, ours = await asyncio.open_connection(
            "127.0.0.1", self.upstream, ssl=self.trusting, server_hostname="localhost"
        )
        ours.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
        response = await theirs.read()
        self.bad_nonces += b"acme:error:badNonce" in response
        writer.write(response)
        ours.close()

    def _refusal(self, status: int, kind: str, detail: str) -> bytes:
        body = json.dumps({"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status})
        lines = (
            f"HTTP/1.1 {status} Refused",
            "Content-Type: application/problem+json",
            f"Content-Length: {len(body)}",
            f"Retry-After: {self.retry_after}",
            "Replay-Nonce: dG9vIG1hbnk",
            "Connection: close",
        )
        return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


@dataclass
class Pebble:
    """A running authority. `settings` are those of a balancer that orders there, without BALANCER_."""

    front: Front
    authority: Authority
    storage: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.front.port}/dir"

    def settings(self, *domains: str, **more: str) -> dict[str, str]:
        return {
            "UPSTREAMS": "127.0.0.1:1",
            "HEALTH_CHECK__ENABLED": "false",
            "TLS__LISTEN": "127.0.0.1:0",
            "TLS__ACME__DOMAINS": ",".join(domains),
            "TLS__ACME__STORAGE": str(self.storage),
            "TLS__ACME__DIRECTORY_URL": self.url,
            "TLS__ACME__CA": self.authority.file,
            **more,
        }


@asynccontextmanager
async def pebble(
    directory: Path, http_port: int, tls_port: int, *, lifetime: float = 0, reject: int = 0
) -> AsyncIterator[Pebble]:
    """An authority that looks at these ports. Its certificates live for `lifetime` seconds, for years if 0;
    `reject` percent of good nonces are refused."""
    authority = Authority(directory, "directory")
    certificate, key = authority.site("localhost", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    front = Front(context, authority.context())
    front.open.set()
    names = await Names.open()
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0, ssl=context)
    front.port = server.sockets[0].getsockname()[1]
    storage = directory / "storage"
    storage.mkdir(exist_ok=True)
    config = {
        "certificate": certificate,
        "privateKey": key,
        "managementListenAddress": "",
        "httpPort": http_port,
        "tlsPort": tls_port,
        **({"certificateValidityPeriod": lifetime} if lifetime else {}),
    }
    process, front.upstream = await _started(directory, config, names.port, reject)
    try:
        yield Pebble(front, authority, storage)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        names.transport.close()
        server.close()
        await server.wait_closed()


async def _started(directory: Path, config: dict[str, object], dns: int, reject: int) -> tuple[Process, int]:
    command = tool("pebble", "pebble")
    file = directory / "pebble.json"
    for _ in range(_ATTEMPTS):
        port = free_port()
        file.write_text(json.dumps({"pebble": {**config, "listenAddress": f"127.0.0.1:{port}"}}))
        process = await asyncio.create_subprocess_exec(
            *(command, "-config", str(file), "-dnsserver", f"127.0.0.1:{dns}"),
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={
                **os.environ,
                "PEBBLE_VA_NOSLEEP": "1",
                "PEBBLE_AUTHZREUSE": "0",
                "PEBBLE_WFE_NONCEREJECT": str(reject),
            },
        )
        if await _listens(process, port):
            return process, port
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    raise AssertionError("pebble does not start")


async def _listens(process: Process, port: int) -> bool:
    """Wait until it does, or has ended."""
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return True
    return False


def free_port() -> int:
    """A port that nobody listens on now. The kernel gives none of these to connections, or to other tests."""
    while True:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            return int(sock.getsockname()[1])
