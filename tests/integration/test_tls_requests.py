"""What apps and clients are told about TLS: over real sockets."""

import asyncio

import pytest

from balancer.spec.worker import AnswerSpec
from tests.fakes.specs import route_spec
from tests.fakes.tls_client import tls_client
from tests.fakes.tls_specs import tls_spec
from tests.proxy.real_sockets import on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

POLICY = b"Strict-Transport-Security: max-age=63072000"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request's head; with a policy of its own if it is asked for that."""
    while True:
        head = await read_head(reader)
        own = b"strict-transport-security: max-age=1\r\n" if b"/own" in head else b""
        writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (own, len(head), head))


def lines_of(data: bytes, *starts: bytes) -> list[bytes]:
    return [line for line in data.split(b"\r\n") if line.startswith(starts)]


@pytest.mark.parametrize(
    ("trusted", "sent", "told"),
    [
        pytest.param([], b"", [b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 8443"], id="ours"),
        pytest.param(
            [],
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\nForwarded: proto=http\r\n",
            [
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Port: 8443",
                b"Forwarded: for=127.0.0.1;proto=https;host=shop.example",
            ],
            id="not what anybody says",
        ),
        pytest.param(
            ["127.0.0.1"],
            b"X-Forwarded-For: 192.0.2.1\r\n",
            [b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 8443"],
            id="ours, if a trusted proxy does not say",
        ),
        pytest.param(
            ["127.0.0.1"],
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: 81\r\n",
            [b"X-Forwarded-Proto: http", b"X-Forwarded-Port: 81"],
            id="what a trusted proxy says",
        ),
        pytest.param(
            ["127.0.0.1"], b"X-Forwarded-Proto: http\r\n", [b"X-Forwarded-Proto: http"], id="its scheme only"
        ),
        pytest.param(
            ["127.0.0.1"],
            b"X-Forwarded-Port: 81\r\n",
            [b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 81"],
            id="its port only",
        ),
        pytest.param(
            ["127.0.0.1"],
            b"Forwarded: for=192.0.2.1\r\n",
            [
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Port: 8443",
                b"Forwarded: for=192.0.2.1;proto=https;host=shop.example, "
                b"for=127.0.0.1;proto=https;host=shop.example",
            ],
            id="ours, by Forwarded",
        ),
    ],
)
@on_uvloop
async def test_apps_are_told_of_https(trusted: list[str], sent: bytes, told: list[bytes]) -> None:
    spec = tls_spec(public_port=8443)
    async with (
        real_sockets(echo, tls=spec, trusted_proxies=trusted) as proxy,
        tls_client(proxy.tls_port) as client,
    ):
        for _ in range(2):
            head = await client.response(b"GET / HTTP/1.1\r\nHost: shop.example\r\n%b\r\n" % sent)
            found = lines_of(head, b"X-Forwarded-Proto", b"X-Forwarded-Port", b"Forwarded")
            assert sorted(found) == sorted(told)


@pytest.mark.parametrize(
    ("sent", "scheme"), [(b"", "https"), (b"X-Forwarded-Proto: http\r\n", "http")], ids=["ours", "a proxy's"]
)
@on_uvloop
async def test_the_access_log_has_the_scheme(sent: bytes, scheme: str) -> None:
    async with (
        real_sockets(echo, tls=tls_spec(), trusted_proxies=["127.0.0.1"]) as proxy,
        tls_client(proxy.tls_port) as client,
    ):
        for _ in range(2):
            await client.response(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % sent)
        assert [record["scheme"] for record in proxy.records.records] == [scheme] * 2
        assert {record["tls"] for record in proxy.records.records} == {"TLSv1.3"}


@on_uvloop
async def test_variables_know_the_scheme() -> None:
    answer = AnswerSpec(status=302, location="$scheme://other.example$uri")
    routes = [route_spec("r", "", answer=answer), route_spec("default")]
    async with (
        real_sockets(echo, tls=tls_spec(), routes=routes) as proxy,
        tls_client(proxy.tls_port) as client,
    ):
        data = await client.response(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert lines_of(data, b"Location") == [b"Location: https://other.example/a"]


@on_uvloop
async def test_the_policy_is_in_responses_of_the_tls_listener_only() -> None:
    routes = [
        route_spec("answer", "", match={"path": "/answer"}, answer=AnswerSpec(status=200, body=b"ok")),
        route_spec("none", "", match={"path": "/none"}),
        route_spec("default"),
    ]
    async with real_sockets(echo, tls=tls_spec(hsts="max-age=63072000"), routes=routes) as proxy:
        async with tls_client(proxy.tls_port) as client:
            for path, found in [
                (b"/", [POLICY]),
                (b"/", [POLICY]),
                (b"/own", [b"strict-transport-security: max-age=1"]),
                (b"/answer", [POLICY]),
                (b"/none", [POLICY]),
            ]:
                data = await client.response(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
                assert lines_of(data, b"Strict-", b"strict-") == found
        reader, writer = await proxy.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert lines_of(await read_head(reader), b"Strict-") == []
        writer.close()
