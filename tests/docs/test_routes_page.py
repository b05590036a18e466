"""Every example of docs/routes.md is valid, and those that should be the same are."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.config.upstream_spec import UpstreamSpec
from balancer.policies import registry
from balancer.runtime.blueprint import instance_spec
from tests.fakes.messages import start_message
from tests.fakes.transport import CLIENT_ADDRESS
from tests.fakes.wire import Wire

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/routes.md").read_text(encoding="utf-8")
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_POOLS = "upstreams: w:80\npools: {api: {upstreams: a:80}, web: {upstreams: b:80}}\n"


def _blocks(language: str, page: str = _PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def _variables(block: str) -> dict[str, str]:
    return dict(re.findall(r'^(?:export )?(BALANCER_\w+)="?([^"\n#]*?)"?(?: +#.*)?$', block, re.MULTILINE))


def _loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "balancer.yaml"
    file.write_text(text, encoding="utf-8")
    return load({}, str(file), registry)


def test_the_first_example_has_three_pools() -> None:
    settings = load(_variables(_blocks("sh")[0]), None, registry)
    assert [len(settings.upstreams), *(len(pool.upstreams) for pool in settings.pools.values())] == [2, 2, 1]
    assert [route.pool for route in settings.routes] == ["api", "static", "default"]
    assert settings.pools["api"].limits.max_inflight == 20


def test_the_long_form_is_valid(tmp_path: Path) -> None:
    page = tmp_path / "maintenance.html"
    page.write_text("later", encoding="utf-8")
    (text,) = (block for block in _blocks("yaml") if block.startswith("routes:"))
    settings = _loaded(tmp_path, _POOLS + text.replace("/run/maintenance.html", str(page)))
    assert [route.name for route in settings.routes] == ["shop-api", "redirect", "respond", "default"]


@pytest.mark.parametrize("page", [_PAGE, _README], ids=["routes.md", "README.md"])
def test_the_example_from_nginx_is_the_same_in_both_forms(tmp_path: Path, page: str) -> None:
    (variables,) = (
        block
        for block in _blocks("sh", page)
        if "BALANCER_POOLS__API__UPSTREAMS=" in block and "weight=3" in block
    )
    (file,) = (block for block in _blocks("yaml", page) if "weight=3" in block)
    by_environment = load(_variables(variables), None, registry)
    by_file = _loaded(tmp_path, file)
    assert by_file.model_dump(exclude={"config"}) == by_environment.model_dump(exclude={"config"})
    api = by_file.pools["api"]
    assert [one.weight for one in api.upstreams if isinstance(one, UpstreamSpec)] == [3, 3, 1]
    assert (api.policy, api.keepalive.max_idle) == ("least_connections", 32)
    assert [(route.match.path_prefix, route.pool) for route in by_file.routes] == [
        (("/api/",), "api"),
        (("/static/",), "static"),
    ]


# --- what you had, and what you write: each line with a request


ROWS = re.findall(r"^\| ((?:nginx|HAProxy|Traefik) .*) \| (.+) \|$", _PAGE, re.MULTILINE)
TRUSTED = "10.9.9.9"


@dataclass
class Sent:
    """A request, and what came of it: the pool that got it ("" for none), the lines that its app got, and
    those of the response, each with the first line first."""

    pool: str
    to_app: list[str]
    to_client: list[str]


def _lines(data: bytes) -> list[str]:
    return data.decode().partition("\r\n\r\n")[0].split("\r\n")


@contextmanager
def started(tmp_path: Path, written: str) -> Iterator[Wire]:
    """A balancer whose first route is `written`, and whose second one is the pool `web` for all requests."""
    if re.match(r"[a-z_]+: ", written):  # a part of a route
        place = "" if "match:" in written else "match: {path_prefix: /x}, "
        written = f"{{{place}{written}, pool: api}}"
    elif not written.startswith("{"):
        written = f'"{written}"'
    text = f"{_POOLS}trusted_proxies: {TRUSTED}\nroutes:\n  - {written}\n  - {{name: rest, pool: web}}\n"
    spec = instance_spec(_loaded(tmp_path, text), via="x", max_connections=10).worker
    wire = Wire(start_message(more={"api": 1, "web": 1}, routes=spec.routes, trusted_proxies=[TRUSTED]))
    try:
        yield wire
    finally:
        wire.close()


def sent(tmp_path: Path, written: str, target: str, *fields: str, client: str = CLIENT_ADDRESS) -> Sent:
    """Sends a request to it, which its app answers at once."""
    with started(tmp_path, written) as wire:
        from_client = wire.connect(client)
        host = [] if any(field.startswith("Host:") for field in fields) else ["Host: shop.example"]
        from_client.receive("\r\n".join([f"GET {target} HTTP/1.1", *host, *fields, "", ""]).encode())
        wire.settle()
        if not wire.loop.dials:
            return Sent("", [], _lines(from_client.take()))
        pool = {"10.0": "default", "10.1": "api", "10.2": "web"}[wire.loop.dials[-1].host[:4]]
        to_app = _lines(wire.upstream.take())
        wire.upstream.receive(b"HTTP/1.1 200 OK\r\nServer: app\r\nContent-Length: 2\r\n\r\nok")
        wire.settle()
        return Sent(pool, to_app, _lines(from_client.take()))


def _goes_to_api(tmp_path: Path, written: str) -> None:
    assert sent(tmp_path, written, "/api/x").pool == "api"
    assert sent(tmp_path, written, "/apix").pool == "web"


def _is_answered_here(tmp_path: Path, written: str) -> None:
    assert sent(tmp_path, written, "/health").to_client[0] == "HTTP/1.1 204 No Content"
    assert sent(tmp_path, written, "/health/x").pool == "web"


def _is_stripped(tmp_path: Path, written: str) -> None:
    found = sent(tmp_path, written, "/api/x?y=1")
    assert (found.pool, found.to_app[0]) == ("api", "GET /x?y=1 HTTP/1.1")


def _adds_tls_once(tmp_path: Path, written: str) -> None:
    """Also behind a proxy that ends TLS, whose requests come over http too."""
    found = sent(tmp_path, written, "/a?b=1")
    assert found.to_client[0] == "HTTP/1.1 301 Moved Permanently"
    assert "Location: https://shop.example/a?b=1" in found.to_client
    assert sent(tmp_path, written, "/a", "X-Forwarded-Proto: http", client=TRUSTED).pool == ""
    for field in ("X-Forwarded-Proto: https", "X-Forwarded-Proto: wss", "Forwarded: proto=https"):
        assert sent(tmp_path, written, "/a", field, client=TRUSTED).pool == "web"
    assert sent(tmp_path, written, "/a", "X-Forwarded-Proto: https").pool == ""  # anybody can say that


def _goes_by_upgrade(tmp_path: Path, written: str) -> None:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    assert sent(tmp_path, written, "/", *upgrade).pool == "api"
    assert sent(tmp_path, written, "/").pool == "web"


def _goes_by_host(tmp_path: Path, written: str) -> None:
    other = written.replace("=web", "=api")
    assert sent(tmp_path, other, "/", "Host: a.example.com").pool == "api"
    assert sent(tmp_path, other, "/", "Host: example.com").pool == "web"


def _sends_the_address(tmp_path: Path, _: str) -> None:
    assert f"X-Real-IP: {CLIENT_ADDRESS}" in sent(tmp_path, "/x=api", "/x").to_app


def _takes_large_bodies(tmp_path: Path, written: str) -> None:
    assert sent(tmp_path, written, "/x", f"Content-Length: {1 << 30}").pool == "api"
    refused = sent(tmp_path, written, "/x", f"Content-Length: {(1 << 30) + 1}")
    assert refused.to_client[0] == "HTTP/1.1 413 Content Too Large"


def _waits(tmp_path: Path, written: str) -> None:
    with started(tmp_path, written) as wire:
        client = wire.connect()
        client.receive(b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        wire.settle()
        wire.advance(89)
        assert client.take() == b""
        wire.advance(2)
        assert client.take().startswith(b"HTTP/1.1 504 ")


def _sets_a_field(tmp_path: Path, written: str) -> None:
    assert "X-A: b" in sent(tmp_path, written, "/x").to_app


def _removes_a_field(tmp_path: Path, written: str) -> None:
    assert "Server: app" not in sent(tmp_path, written, "/x").to_client


def _goes_by_host_and_path(tmp_path: Path, written: str) -> None:
    assert sent(tmp_path, written, "/api/x", "Host: a.example").pool == "api"
    assert sent(tmp_path, written, "/api/x").pool == "web"


def _goes_by_a_field(tmp_path: Path, written: str) -> None:
    assert sent(tmp_path, written, "/", "X-Beta: 1").pool == "api"
    assert sent(tmp_path, written, "/", "X-Beta: 2").pool == "web"


BEHAVIOURS = [
    (_goes_to_api, _is_answered_here, _is_stripped, _adds_tls_once, _goes_by_upgrade, _goes_by_host),
    (_sends_the_address, _takes_large_bodies, _waits, _goes_to_api, _sets_a_field, _removes_a_field),
    (_goes_by_host_and_path, _goes_by_a_field),
]


def test_each_line_of_the_table_has_a_request() -> None:
    assert len(ROWS) == len(sum(BEHAVIOURS, ()))


@pytest.mark.parametrize(
    ("row", "behaves"),
    list(zip(ROWS, sum(BEHAVIOURS, ()), strict=False)),
    ids=[f"{number}: {row[0][:40]}" for number, row in enumerate(ROWS)],
)
def test_each_line_of_the_table_does_what_it_says(
    tmp_path: Path, row: tuple[str, str], behaves: Callable[[Path, str], None]
) -> None:
    behaves(tmp_path, row[1].strip("`"))


@pytest.mark.parametrize(
    ("field", "sent_value", "own"),
    [
        ("X-Forwarded-For", "192.0.2.77", CLIENT_ADDRESS),
        ("X-Real-IP", "192.0.2.77", CLIENT_ADDRESS),
        ("X-Forwarded-Proto", "https", "http"),
        ("X-Forwarded-Host", "other.example", "shop.example"),
        ("Forwarded", "for=192.0.2.77", f"for={CLIENT_ADDRESS};proto=http;host=shop.example"),
    ],
)
def test_what_a_client_claims_of_itself_meets_no_condition(
    tmp_path: Path, field: str, sent_value: str, own: str
) -> None:
    def pool(wanted: str) -> str:
        route = f'{{match: {{headers: {{{field}: "{wanted}"}}}}, pool: api}}'
        return sent(tmp_path, route, "/", f"{field}: {sent_value}").pool

    assert (pool(sent_value), pool(own)) == ("web", "api")


def test_routes_without_a_name_are_called_like_their_pools(tmp_path: Path) -> None:
    text = "routes: [/a=api, /b=api, {match: {path: /c}, split: {api: 1, web: 1}}, /d=api]"
    assert [route.name for route in _loaded(tmp_path, _POOLS + text).routes] == [
        "api",
        "api-2",
        "api-web",
        "api-3",
    ]
