"""Bodies over TLS: records, slow readers, and how a client learns whether a body is whole."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from tests.fakes.body_app import CUT, BodyApp, body_app
from tests.fakes.https import Authority, Https, https
from tests.fakes.tools import PATIENCE, run, tool

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

RECORD = 16_384  # bytes of content, the most that TLS allows
APPLICATION_DATA = 23
OVERHEAD = 64  # at most, of any suite: tag, content type, explicit nonce
VERSIONS = [
    pytest.param(ssl.TLSVersion.TLSv1_2, id="TLS 1.2"),
    pytest.param(ssl.TLSVersion.TLSv1_3, id="TLS 1.3"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[BodyApp]:
    async with body_app() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(app: BodyApp, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Https]:
    """A balancer with a certificate for shop.test."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    async with https(authority, authority.site("shop.test"), UPSTREAMS=app.address) as found:
        yield found


def request(target: str, version: str = "1.1", fields: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"GET {target} HTTP/{version}\r\nHost: shop.test\r\n{fields}{length}\r\n".encode() + body


class Wire:
    """A client that sees its records: OpenSSL in memory, on a socket of its own. It blocks."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="shop.test")
        self._unread = b""
        self.records: list[tuple[int, int]] = []  # type and length of each one received
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._more()
            else:
                self._flush()
                return

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def read(self) -> bytes:
        """What came; b"" after a close_notify, and `EOFError` if the connection ended without one."""
        while True:
            try:
                return self._tls.read(1 << 20)
            except ssl.SSLWantReadError:
                self._more()
            except ssl.SSLZeroReturnError:
                return b""

    def read_all(self) -> bytes:
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def _flush(self) -> None:
        self._connection.sendall(self._outgoing.read())

    def _more(self) -> None:
        try:
            self._flush()
            data = self._connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError("the connection ended without close_notify")
        self._incoming.write(data)
        self._unread += data
        while len(self._unread) >= 5:
            length = int.from_bytes(self._unread[3:5])
            if len(self._unread) < 5 + length:
                return
            self.records.append((self._unread[0], length))
            self._unread = self._unread[5 + length :]


@contextmanager
def wire(site: Https, version: ssl.TLSVersion) -> Iterator[Wire]:
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as connection:
        yield Wire(connection, site.authority.context(version))


def fetched(site: Https, version: ssl.TLSVersion, sent: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Everything up to a close_notify, and the records in which it came."""
    with wire(site, version) as client:
        client.write(sent)
        return client.read_all(), client.records


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_large_body_comes_in_records_of_16_kib(site: Https, version: ssl.TLSVersion) -> None:
    size = 4 << 20
    sent = request(f"/{size}", fields="Connection: close\r\n")
    answer, records = await asyncio.to_thread(fetched, site, version, sent)
    assert answer.endswith(b"\r\n\r\n" + b"x" * size)
    lengths = [length for kind, length in records if kind == APPLICATION_DATA]
    assert max(lengths) <= RECORD + OVERHEAD
    # Half of them at least are full, as each one costs a header, a tag and a call.
    assert len(lengths) <= 2 * size / RECORD, Counter(lengths).most_common(5)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_large_upload_comes_back_as_it_was(site: Https, version: ssl.TLSVersion) -> None:
    body = bytes(range(256)) * (1 << 12)
    sent = request("/echo", fields="Connection: close\r\n", body=body)
    answer, _ = await asyncio.to_thread(fetched, site, version, sent)
    assert answer.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_body_that_ends_with_the_connection_is_whole_by_close_notify(
    site: Https, version: ssl.TLSVersion
) -> None:
    """HTTP/1.0 has no chunks: nothing else tells its end (RFC 9112 section 9.8)."""
    answer, _ = await asyncio.to_thread(fetched, site, version, request("/closing/70000", "1.0"))
    assert answer.endswith(b"\r\n\r\n" + b"x" * 70_000)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("http", ["1.0", "1.1"])
async def test_a_body_that_breaks_off_ends_without_close_notify(
    site: Https, version: ssl.TLSVersion, http: str
) -> None:
    with pytest.raises(EOFError, match="without close_notify"):
        await asyncio.to_thread(fetched, site, version, request("/cut", http))


@pytest.mark.parametrize("http", ["--http1.0", "--http1.1"])
async def test_curl_fails_if_a_body_breaks_off(site: Https, http: str) -> None:
    url = f"https://shop.test:{site.port}"
    curl = [
        tool("curl", "curl"), "--silent", "--show-error", http, "--cacert", site.authority.file,
        "--resolve", f"shop.test:{site.port}:127.0.0.1",
    ]  # fmt: skip
    whole = await run(*curl, f"{url}/closing/{CUT}")
    assert (whole.code, len(whole.stdout), whole.stderr) == (0, CUT, b"")
    broken = await run(*curl, f"{url}/cut")
    assert broken.code in (18, 56), broken.stderr  # a partial file; a failure to receive
    assert len(broken.stdout) <= CUT


async def test_an_app_does_not_run_ahead_of_a_client_that_does_not_read(site: Https, app: BodyApp) -> None:
    size, before = 64 << 20, app.sent
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=site.authority.context(), server_hostname="shop.test"
    )
    writer.write(request(f"/{size}", fields="Connection: close\r\n"))
    sent = -1
    async with asyncio.timeout(PATIENCE):
        while sent != app.sent:  # until it waits
            sent = app.sent
            await asyncio.sleep(0.5)
        assert sent - before < size / 2
        assert len(await reader.read()) > size
    writer.close()


def slowly(site: Https) -> int:
    """How many bytes come to a client with a small buffer, that takes its time."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", site.port))
        with site.authority.context().wrap_socket(connection, server_hostname="shop.test") as client:
            client.sendall(request("/400000", fields="Connection: close\r\n"))
            total = 0
            while piece := client.recv(1000):
                total += len(piece)
            return total


async def test_a_slow_reader_gets_everything(site: Https) -> None:
    assert await asyncio.to_thread(slowly, site) > 400_000


async def test_other_clients_are_served_beside_one_that_does_not_read(site: Https) -> None:
    async with asyncio.timeout(PATIENCE):
        _, slow = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=site.authority.context(), server_hostname="shop.test"
        )
        slow.write(request(f"/{64 << 20}"))
        await slow.drain()
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=site.authority.context(), server_hostname="shop.test"
        )
        writer.write(request("/5", fields="Connection: close\r\n"))
        assert (await reader.read()).endswith(b"\r\n\r\nxxxxx")
    slow.transport.abort()
    writer.close()


async def test_an_end_from_the_client_is_answered_with_one(site: Https) -> None:
    """TLS has no half-close here: both directions end together."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.port, ssl=site.authority.context(), server_hostname="shop.test"
    )
    writer.write(request("/5"))
    await reader.readuntil(b"xxxxx")
    assert not writer.can_write_eof()
    writer.close()  # sends close_notify, and waits for the other one
    async with asyncio.timeout(PATIENCE):
        await writer.wait_closed()
