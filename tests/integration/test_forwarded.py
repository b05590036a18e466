"""What an app is told about the client, over real sockets and processes, by a stranger and by a proxy."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from tests.fakes.instance import PATIENCE, Balancer, running
from tests.proxy.real_sockets import origin

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SENT = [
    b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: shop.example",
    b"Forwarded: for=192.0.2.66;proto=http;host=other.example", b"X-Forwarded-Port: 443",
    b"X-Forwarded-Ssl: on", b"X_Forwarded_Proto: https", b"X-Real-IP: 203.0.113.9", b"Front-End-Https: on",
    b"Remote-User: root", b"X-Acme-User: root", b"X-Forwarded-Prefix: /shop", b"Proxy: http://evil.example",
    b"Client-Cert: :MIIB:", b"X-Other: stays",
]  # fmt: skip


class App:
    """Records the header lines of its last request."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.lines = head[:-4].split(b"\r\n")[1:]
            if b"Transfer-Encoding: chunked" in self.lines:
                self.lines += (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")[1:]
            writer.write(OK)

    def names(self) -> set[bytes]:
        return {line.partition(b":")[0].lower() for line in self.lines}


@asynccontextmanager
async def before(app: App, **settings: str) -> AsyncIterator[Balancer]:
    """A balancer with two workers in front of one app."""
    async with (
        origin(app) as port,
        running(
            VIA="off", UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false", WORKERS="2", **settings
        ) as balancer,
    ):
        yield balancer


async def ask(balancer: Balancer, lines: Iterable[bytes], body: bytes = b"") -> None:
    """One request on its own connection, and its response."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a.example", *lines, b"", body]))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()
        await writer.wait_closed()


async def test_a_stranger_is_not_believed_and_one_log_line_names_the_setting() -> None:
    app = App()
    async with before(app, FORWARDED__DROP="X-Acme-*", FORWARDED__KEEP="X-Forwarded-Prefix") as balancer:
        for _ in range(5):
            await ask(balancer, SENT)
            assert sorted(line for line in app.lines if not line.startswith(b"X-Request-ID")) == sorted(
                [
                    b"Host: a.example", b"X-Other: stays", b"X-Forwarded-Prefix: /shop",
                    b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Real-IP: 127.0.0.1",
                    b"X-Forwarded-Host: a.example", b"Forwarded: for=127.0.0.1;proto=http;host=a.example",
                ]
            )  # fmt: skip
        assert {line["client"] for line in await balancer.logs_access(5)} == {"127.0.0.1"}
        line = await balancer.says("is not in TRUSTED_PROXIES")
        assert "127.0.0.1 sends X-Forwarded-For, X-Forwarded-Proto" in line
        assert "set BALANCER_TRUSTED_PROXIES=127.0.0.1;" in line
        assert sum("TRUSTED_PROXIES" in one for one in balancer.stderr) == 1


async def test_a_trusted_proxy_is_believed_and_app_and_log_agree() -> None:
    app = App()
    async with before(app, TRUSTED_PROXIES="::ffff:127.0.0.0/104", FORWARDED__DROP="X-Acme-*") as balancer:
        await ask(balancer, SENT)
        assert {
            b"X-Forwarded-For: 203.0.113.9, 127.0.0.1", b"X-Forwarded-Proto: https",
            b"X-Real-IP: 203.0.113.9", b"X-Forwarded-Host: shop.example", b"X-Forwarded-Port: 443",
            b"X-Forwarded-Ssl: on",
            b"Front-End-Https: on", b"Remote-User: root", b"X-Acme-User: root", b"X-Forwarded-Prefix: /shop",
            b"Forwarded: for=203.0.113.9;proto=https;host=shop.example, "
            b"for=127.0.0.1;proto=https;host=shop.example",
        } <= set(app.lines)  # fmt: skip
        assert not {b"x_forwarded_proto", b"proxy", b"client-cert"} & app.names()
        await ask(balancer, [b'Forwarded: for="[2001:db8::9]:4711";proto=https;host="shop.example:8443"'])
        assert {
            b"X-Forwarded-For: 2001:db8::9, 127.0.0.1", b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: shop.example:8443", b"X-Real-IP: 2001:db8::9",
        } <= set(app.lines)  # fmt: skip
        clients = [line["client"] for line in await balancer.logs_access(2)]
        assert sorted(clients) == ["2001:db8::9", "203.0.113.9"]
        assert not [one for one in balancer.stderr if "TRUSTED_PROXIES" in one]


@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.0/8"])
async def test_trailers_do_not_carry_fields_reserved_for_proxies(trusted: str) -> None:
    app = App()
    async with before(
        app, TRUSTED_PROXIES=trusted, FORWARDED__DROP="X-Acme-*", REQUEST_TRAILERS="on"
    ) as balancer:
        trailers = [
            b"X-Sum: 1",
            *(line for line in SENT if line.startswith((b"Proxy", b"Client", b"X-Acme"))),
        ]
        trailers += [b"X-Forwarded-Port: 443", b"Remote_User: root", b"X-Sum-2: 2"]
        await ask(balancer, [b"Transfer-Encoding: chunked"], b"\r\n".join([b"0", *trailers, b"", b""]))
        assert app.lines[-2:] == [b"X-Sum: 1", b"X-Sum-2: 2"]
        assert (
            not {b"proxy", b"client-cert", b"x-acme-user", b"x-forwarded-port", b"remote_user"} & app.names()
        )
