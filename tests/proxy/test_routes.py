"""Requests to several pools: which one serves them, what is changed on the way, and what is answered here."""

from typing import Any

import pytest

from balancer.messages import ReadOnly
from balancer.spec.worker import AnswerSpec, FieldsSpec, RewriteSpec, SideSpec
from balancer.telemetry.columns import CODE_COLUMN, METHOD_COLUMN
from tests.fakes.specs import retry_rules, route_spec
from tests.fakes.transport import CLIENT_ADDRESS, FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness

MORE = {"api": 2, "web": 1}
TRUSTED = "10.9.9.9"


def request(path: str, *lines: str, method: str = "GET", host: str = "shop.example") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def api(**changes: Any) -> Any:
    return route_spec("api", match={"path_prefixes": ("/api",)}, **changes)


def served_by(harness: Harness) -> str:
    return harness.dialled[-1] if harness.dialled else ""


def head_to_app(harness: Harness) -> list[str]:
    """The lines that the app got, the request line first, without our own about the client."""
    lines = harness.upstream.take().decode().split("\r\n")
    return [
        line
        for line in lines
        if line and not line.startswith(("X-Forwarded-For", "X-Real", "Via", "X-Request-ID"))
    ]


def head_of(client: FakeTransport) -> list[str]:
    return client.take().decode().partition("\r\n\r\n")[0].split("\r\n")


def test_each_route_has_its_pool_and_its_counts(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("web")])
    client = harness.ask(request("/api/x"))
    assert served_by(harness).startswith("10.1.0.")
    harness.answer()
    assert client.take() == OK
    harness.ask(request("/apix"), client)
    assert served_by(harness) == "10.2.0.1"
    harness.answer()
    assert [record["route"] for record in harness.records.records] == ["api", "web"]
    assert [record["pool"] for record in harness.records.records] == ["api", "web"]
    harness.proxy.flush()
    column = METHOD_COLUMN[b"GET"] + CODE_COLUMN[200]
    assert [route.side.counters.cells[column] for route in harness.proxy.router.routes] == [1, 1]


@pytest.mark.parametrize(
    ("field", "lines", "other"),
    [
        (("Upgrade", "websocket"), ("Connection: Upgrade", "Upgrade: WebSocket"), "Upgrade: websocket"),
        (("Upgrade", "*"), ("Connection: Upgrade", "Upgrade: websocket"), "Connection: Upgrade"),
        (("X-Request-ID", "r-1"), ("x-request-id: r-1",), "X-Request-ID: r-2"),
        (("X-Request-ID", "*"), ("X-Request-ID: r-1",), "Accept: a/b"),
    ],
)
def test_a_route_may_ask_for_an_upgrade_and_for_the_clients_request_id(
    make_harness: MakeHarness, field: tuple[str, str], lines: tuple[str, ...], other: str
) -> None:
    routes = [route_spec("api", match={"headers": (field,)}), route_spec("web")]
    harness = make_harness(1, more={"api": 1, "web": 1}, routes=routes)
    for wanted, fields in (("api", lines), ("web", (other,))):
        client = harness.client()
        for number in range(3):  # parsed, remembered, remembered as a whole
            harness.ask(request(f"/{number}", *fields), client)
            harness.answer()
            assert harness.logged()["route"] == wanted


def test_a_request_that_no_route_matches_gets_404_with_a_reason(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("unmatched", "")])
    client = harness.ask(request("/x"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b'Proxy-Status: balancer; error=destination_not_found; details="no_route"\r\n' in answer
    assert harness.dialled == []
    assert harness.local_counted("no_route") == 1
    record = harness.logged()
    assert (record["status"], record["reason"], record["route"], record["pool"]) == (
        404,
        "no_route",
        "unmatched",
        "",
    )
    harness.ask(request("/api"), client)  # the connection stays open
    harness.answer()
    assert client.take() == OK


@pytest.mark.parametrize(
    ("path", "forwarded"),
    [
        ("/api/../x", "/x"),
        ("/x/../api/y?q=/../z", "/api/y?q=/../z"),
        ("/%61pi/y", "/api/y"),
        ("//api/y", "/api/y"),
        ("/api//y", "/api//y"),
        ("//x/api", "/x/api"),
        ("/api/a%2fb", "/api/a%2fb"),
        ("/api/y;v=1", "/api/y;v=1"),
        ("/caf%c3%a9", "/caf%c3%a9"),
        ("/a?x=%2e%2e/..", "/a?x=%2e%2e/.."),
    ],
)
def test_what_was_matched_is_what_the_app_sees(make_harness: MakeHarness, path: str, forwarded: str) -> None:
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("web")])
    harness.ask(request(path))
    assert head_to_app(harness)[0] == f"GET {forwarded} HTTP/1.1"
    is_api = forwarded.lstrip("/").startswith("api")
    assert served_by(harness).startswith("10.1." if is_api else "10.2.")
    harness.answer()


@pytest.mark.parametrize(
    "path",
    ["/../api", "/x\\..\\api", "/x%5capi", "/api%00", "/x/..;/api", "/x%2f..%2fapi", "/x%2f%2e%2e/api",
     "/x//../api", "/api%2fadmin", "/;%2fapi", "/api;v=1", "/%zz"],
)  # fmt: skip
def test_a_path_that_could_be_taken_for_another_routes_is_refused(
    make_harness: MakeHarness, path: str
) -> None:
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("web")])
    client = harness.ask(request(path))
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert harness.dialled == []


@pytest.mark.parametrize("host", ["%61.example", "a%2Eexample", "x.%61.example:80", "b.example%2f"])
def test_a_host_that_could_be_taken_for_another_routes_is_refused(
    make_harness: MakeHarness, host: str
) -> None:
    routes = [route_spec("api", match={"hosts": ("a.example", "*.a.example")}), route_spec("web")]
    harness = make_harness(1, more=MORE, routes=routes)
    for target in ("/", "//x/%2e"):
        answer = harness.ask(request(target, host=host)).take()
        assert answer.startswith(b"HTTP/1.1 400 ")
    assert harness.ask(request(f"http://{host}/", host="b.example")).take().startswith(b"HTTP/1.1 400 ")
    assert harness.dialled == []


def test_where_no_route_looks_at_hosts_they_are_forwarded_as_received(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("web")])
    harness.ask(request("/", host="%61.example"))
    assert head_to_app(harness)[1] == "Host: %61.example"
    harness.answer()


def test_where_no_route_looks_at_paths_targets_are_forwarded_as_received(make_harness: MakeHarness) -> None:
    harness = make_harness(
        1, more=MORE, routes=[route_spec("api", match={"hosts": ("a.example",)}), route_spec("web")]
    )
    harness.ask(request("/x/..;/%2e%2e/a\\b%00"))
    assert head_to_app(harness)[0] == "GET /x/..;/%2e%2e/a\\b%00 HTTP/1.1"
    harness.answer()


# --- rewriting


@pytest.mark.parametrize(
    ("rewrite", "path", "forwarded", "told"),
    [
        (RewriteSpec(prefixes=("/api",)), "/api/v1/x?q=1", "/v1/x?q=1", "/api"),
        (RewriteSpec(prefixes=("/api",)), "/api", "/", "/api"),
        (RewriteSpec(prefixes=("/api/",)), "/api/", "/", "/api"),
        (RewriteSpec(prefixes=("/api",)), "/api//evil.example", "/evil.example", "/api"),
        (RewriteSpec(prefixes=("/api",)), "//api/x", "/x", "/api"),
        (RewriteSpec(prefixes=("/api", "/api/v1")), "/api/v1/x", "/x", "/api/v1"),
        (RewriteSpec(prefixes=("/api",), instead="/v2"), "/api/x", "/v2/x", "/api"),
        (RewriteSpec(prefixes=("/api",), instead="/"), "/api/x", "/x", "/api"),
        (RewriteSpec(prefixes=("/api/caf%C3%A9",)), "/api/caf%c3%a9/x", "/x", "/api/caf%C3%A9"),
        (RewriteSpec(prefixes=("/api/a%20b%25",)), "/api/a%20b%25", "/", "/api/a%20b%25"),
        (RewriteSpec(prefixes=("/api/%0d%0aX:%20y",)), "/api/%0d%0aX:%20y", "/", "/api/%0D%0AX:%20y"),
    ],
)
def test_a_prefix_is_stripped_or_replaced(
    make_harness: MakeHarness, rewrite: RewriteSpec, path: str, forwarded: str, told: str
) -> None:
    harness = make_harness(1, more=MORE, routes=[api(side="web", rewrite=rewrite), route_spec("web")])
    harness.ask(request(path))
    lines = head_to_app(harness)
    assert lines[0] == f"GET {forwarded} HTTP/1.1"
    assert f"X-Forwarded-Prefix: {told}" in lines
    harness.answer()
    before = path.split("?")[0].replace("//api/x", "/api/x")
    assert before in harness.logged()["target"]  # the log has the path before it was rewritten


@pytest.mark.parametrize(
    ("path", "forwarded"),
    [
        ("/admin", "/v2/admin"),
        ("//x", "/v2/x"),
        ("/%61", "/v2/a"),
        ("*", "*"),
        ("/../admin", ""),
        ("/%zz", ""),
    ],
)
def test_a_path_that_is_rewritten_is_in_normal_form_if_no_route_matches_paths(
    make_harness: MakeHarness, path: str, forwarded: str
) -> None:
    rewrite = RewriteSpec(prefixes=("/",), instead="/v2")
    harness = make_harness(1, more=MORE, routes=[route_spec("web", rewrite=rewrite)])
    client = harness.ask(request(path, method="OPTIONS"))
    if not forwarded:
        assert client.take().startswith(b"HTTP/1.1 400 ")
        return
    lines = head_to_app(harness)
    assert lines[0] == f"OPTIONS {forwarded} HTTP/1.1"
    assert not any(line.startswith("X-Forwarded-Prefix") for line in lines)
    harness.answer()


def test_the_app_is_told_the_prefix_as_links_have_it(make_harness: MakeHarness) -> None:
    routes = [route_spec("web", rewrite=RewriteSpec(prefixes=("/caf%C3%A9",)))]
    harness = make_harness(1, more=MORE, routes=routes)
    harness.ask(request("/caf%c3%a9/x"))
    lines = head_to_app(harness)
    assert lines[0] == "GET /x HTTP/1.1"
    assert "X-Forwarded-Prefix: /caf%C3%A9" in lines
    harness.answer()


def test_the_prefix_of_a_trusted_proxy_comes_first(make_harness: MakeHarness) -> None:
    routes = [api(rewrite=RewriteSpec(prefixes=("/api",))), route_spec("web")]
    harness = make_harness(1, more=MORE, routes=routes, trusted_proxies=[TRUSTED])
    harness.ask(request("/api/x", "X-Forwarded-Prefix: /gateway/"), harness.client(TRUSTED))
    assert "X-Forwarded-Prefix: /gateway/api" in head_to_app(harness)
    harness.answer()
    harness.ask(request("/api/x", "X-Forwarded-Prefix: /forged"))
    assert "X-Forwarded-Prefix: /api" in head_to_app(harness)
    harness.answer()


def test_fields_of_requests_are_set_added_and_removed(make_harness: MakeHarness) -> None:
    fields = FieldsSpec(
        set=(("X-Client", "$client_ip at $scheme://$host$$"), ("accept", "x/y")),
        add=(("X-Tag", "b"),),
        remove=("Cookie", "X-None"),
    )
    harness = make_harness(
        1,
        more=MORE,
        routes=[api(side="web", rewrite=RewriteSpec(host="app.example", fields=fields)), route_spec("web")],
    )
    # The last one is the same field to many apps.
    lines = (
        "Accept: a/b",
        "Cookie: a=1",
        "X-Tag: a",
        "X-Client: forged",
        "x-client: again",
        "X_Client: also",
    )
    for _ in range(3):  # parsed, remembered, remembered as a whole
        harness.ask(request("/api/x", *lines, host="shop.example:8080"))
        assert head_to_app(harness)[1:] == [
            "Host: app.example",
            "X-Tag: a",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: shop.example:8080",
            f"X-Client: {CLIENT_ADDRESS} at http://shop.example$",
            "accept: x/y",
            "X-Tag: b",
        ]
        harness.answer()


def test_fields_of_responses_are_changed_but_not_those_of_our_errors(make_harness: MakeHarness) -> None:
    fields = FieldsSpec(set=(("Server", "shop"),), add=(("X-Id", "$request_id"),), remove=("X-Powered-By",))
    harness = make_harness(1, more=MORE, routes=[api(response=fields), route_spec("web")])
    client = harness.ask(request("/api", "X-Request-ID: r-1"))
    harness.answer(b"HTTP/1.1 200 OK\r\nServer: app\r\nX-Powered-By: x\r\nContent-Length: 2\r\n\r\nok")
    assert head_of(client)[:4] == ["HTTP/1.1 200 OK", "Content-Length: 2", "Server: shop", "X-Id: r-1"]
    for address in ("10.1.0.1", "10.1.0.2"):
        harness.loop.answers[address, 8000] = ConnectionRefusedError()
    for transport in harness.loop.transports:
        transport.receive_eof()
    harness.settle()
    client = harness.ask(request("/api"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"Server: shop" not in answer


# --- answers


@pytest.mark.parametrize(
    ("answer", "path", "location"),
    [
        (AnswerSpec(status=308, location="https://$host$uri"), "/a/b?c=d", "https://shop.example/a/b?c=d"),
        (AnswerSpec(status=301, location="/new$path"), "/a?b", "/new/a"),
        (AnswerSpec(status=302, location="$uri"), "//evil.example/x", "/evil.example/x"),
        (AnswerSpec(status=302, location="$path"), "/\\evil.example", "/evil.example"),
        (AnswerSpec(status=302, location="$scheme://$host/"), "/%0d%0aX:1", "http://shop.example/"),
        (AnswerSpec(status=302, location="$uri"), "/%0d%0aX:1", "/%0d%0aX:1"),
        (AnswerSpec(status=302, location="/$path"), "/evil.example", "/evil.example"),
        (AnswerSpec(status=302, location="/$uri"), "/\\evil.example?x", "/evil.example?x"),
        (AnswerSpec(status=308, location="https://$host$uri"), "*", "https://shop.example/"),
    ],
)
def test_a_redirect_keeps_the_path_and_leads_to_no_other_host(
    make_harness: MakeHarness, answer: AnswerSpec, path: str, location: str
) -> None:
    harness = make_harness(1, more=MORE, routes=[route_spec("moved", "", answer=answer)])
    method = "OPTIONS" if path == "*" else "GET"
    lines = head_of(harness.ask(request(path, method=method, host="shop.example:8080")))
    assert lines[0].startswith(f"HTTP/1.1 {answer.status} ")
    assert f"Location: {location}" in lines
    assert "Content-Length: 0" in lines
    assert harness.dialled == []
    assert harness.logged()["status"] == answer.status


def test_a_redirect_to_the_requests_host_needs_one(make_harness: MakeHarness) -> None:
    answer = AnswerSpec(status=308, location="https://$host$uri")
    harness = make_harness(1, more=MORE, routes=[route_spec("old", "", answer=answer)])
    client = harness.ask(b"GET /x HTTP/1.0\r\n\r\n")
    refusal = client.take()
    assert refusal.startswith(b"HTTP/1.1 400 ")
    assert b"no Host, which the redirect repeats" in refusal


def test_a_fixed_answer_is_whole_and_the_connection_goes_on(make_harness: MakeHarness) -> None:
    answer = AnswerSpec(
        status=503, headers=(("Content-Type", "text/html"), ("Retry-After", "60")), body=b"<p>later</p>"
    )
    harness = make_harness(1, more=MORE, routes=[api(), route_spec("closed", "", answer=answer)])
    client = harness.ask(request("/x"))
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert body == b"<p>later</p>"
    assert {b"Content-Type: text/html", b"Retry-After: 60", b"Content-Length: 12"} <= set(head.split(b"\r\n"))
    harness.ask(request("/x", method="HEAD"), client)
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert (body, b"Content-Length: 12" in head) == (b"", True)
    harness.ask(request("/api"), client)
    harness.answer()
    assert client.take() == OK
    assert harness.local_counted("no_upstream") == 0


def test_fields_of_a_fixed_answer_may_have_variables(make_harness: MakeHarness) -> None:
    answer = AnswerSpec(status=503, headers=(("X-Id", "$request_id"), ("X-Price", "5$$")), body=b"x")
    harness = make_harness(1, more=MORE, routes=[route_spec("closed", "", answer=answer)])
    lines = head_of(harness.ask(request("/x", "X-Request-ID: r-1")))
    assert {"X-Id: r-1", "X-Price: 5$"} <= set(lines)


@pytest.mark.parametrize(("status", "lengths"), [(200, ["0"]), (204, []), (205, ["0"]), (304, [])])
def test_an_answer_without_a_body_has_a_length_where_one_could_be(
    make_harness: MakeHarness, status: int, lengths: list[str]
) -> None:
    harness = make_harness(
        1, more=MORE, routes=[api(), route_spec("none", "", answer=AnswerSpec(status=status))]
    )
    client = harness.ask(request("/x"))
    lines = head_of(client)
    assert [line[16:] for line in lines if line.startswith("Content-Length: ")] == lengths
    assert not any(line.startswith("Transfer-Encoding") for line in lines)
    harness.ask(request("/api"), client)  # the connection stays open
    harness.answer()
    assert client.take() == OK


def test_an_answer_does_not_wait_for_the_rest_of_a_body(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[route_spec("gone", "", answer=AnswerSpec(status=410))])
    client = harness.ask(request("/x", "Content-Length: 10", method="POST") + b"abc")
    assert client.take().startswith(b"HTTP/1.1 410 Gone\r\n")
    assert client.eof_written


# --- what is a route's own


def test_a_route_has_its_own_body_limit(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[api(body_bytes=4), route_spec("web")])
    post = request("/api", "Content-Length: 5", method="POST") + b"abcde"
    assert harness.ask(post).take().startswith(b"HTTP/1.1 413 ")
    client = harness.ask(post.replace(b"/api", b"/web"))
    harness.answer()
    assert client.take() == OK


def test_a_route_has_its_own_timeouts(make_harness: MakeHarness) -> None:
    harness = make_harness(
        1,
        more={"api": 1, "web": 1},
        routes=[
            api(timeouts={"first_byte": 2.0, "total": 0}),
            route_spec("web", timeouts={"first_byte": 9.0, "total": 4.0}),
        ],
    )
    first, second = harness.ask(request("/api")), harness.ask(request("/x"))
    harness.advance(3)
    assert first.take().startswith(b"HTTP/1.1 504 ")
    assert second.take() == b""
    harness.advance(2)
    assert b"BALANCER_TIMEOUTS__TOTAL is 4 s" in second.take()


def test_a_route_has_its_own_rules_for_retries(make_harness: MakeHarness) -> None:
    side = SideSpec(pool="api", retry=retry_rules(max_attempts=1))
    harness = make_harness(1, more=MORE, routes=[api(side=side), route_spec("all", "api")])
    client = harness.ask(request("/api"))
    harness.upstream.lose(ConnectionResetError())
    harness.settle()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    client = harness.ask(request("/x"))
    harness.upstream.lose(ConnectionResetError())
    harness.settle()
    harness.answer()
    assert client.take() == OK


# --- no pool may hold all client connections


def test_a_pool_that_hangs_leaves_room_for_the_others(make_harness: MakeHarness) -> None:
    routes = [api(side="api"), route_spec("web")]
    harness = make_harness(1, more={"api": 1, "web": 1}, routes=routes, limits={"max_connections": 8})
    for _ in range(6):
        harness.ask(request("/api"))  # the app answers none of them, and all come within one sweep
    refused = harness.ask(request("/api"))
    assert b'details="pool_connections"' in refused.take()
    assert harness.logged()["reason"] == "pool_connections"
    served = harness.ask(request("/x"))
    harness.answer()
    assert served.take() == OK
    harness.clients[0].lose()
    harness.settle()
    again = harness.ask(request("/api"), refused)
    assert again.take() == b""  # it waits for the app like the others


def test_a_pool_that_held_its_share_serves_again_at_once(make_harness: MakeHarness) -> None:
    routes = [api(side="api"), route_spec("web")]
    harness = make_harness(1, more={"api": 1, "web": 1}, routes=routes, limits={"max_connections": 8})
    clients = [harness.ask(request("/api")) for _ in range(6)]
    for dialled in list(harness.loop.transports):
        dialled.receive(OK)
    harness.settle()
    assert {client.take() for client in clients} == {OK}
    harness.ask(request("/api"))
    assert harness.clients[-1].take() == b""


def test_what_a_pool_holds_is_counted_over_all_routes_that_lead_to_it(make_harness: MakeHarness) -> None:
    other = route_spec("other", "api", match={"path_prefixes": ("/other",)})
    routes = [api(side="api"), other, route_spec("web")]
    harness = make_harness(1, more={"api": 1, "web": 1}, routes=routes, limits={"max_connections": 40})
    for number in range(15):
        harness.ask(request("/api" if number % 3 else "/other"))
    harness.advance(0.25)
    waiting = [harness.ask(request("/other")) for _ in range(15)]
    assert {client.take() for client in waiting} == {b""}
    for path in ("/api", "/other"):
        assert b'details="pool_connections"' in harness.ask(request(path)).take()


def test_a_single_pool_may_hold_all_of_them(make_harness: MakeHarness) -> None:
    harness = make_harness(1, limits={"max_connections": 8})
    for _ in range(8):
        harness.ask()
    harness.advance(0.25)
    assert len(harness.dialled) == 8


# --- read-only for a while


def test_a_read_only_route_serves_no_changes_until_its_time_is_over(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[api(side="web"), route_spec("web")])
    until = harness.clock.monotonic_ns() + 10_000_000_000
    harness.proxy.take_read_only(ReadOnly(route="api", until_ns=until))
    post = request("/api", "Content-Length: 0", method="POST")
    refused = harness.ask(post).take()
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 10\r\n" in refused
    assert b'details="read_only"' in refused
    for allowed in (request("/api"), request("/api", method="OPTIONS"), post.replace(b"/api", b"/web")):
        client = harness.ask(allowed)
        harness.answer()
        assert client.take() == OK
    harness.advance(10)
    client = harness.ask(post)
    harness.answer()
    assert client.take() == OK
    assert harness.proxy.router.routes[0].is_plain


def test_read_only_can_be_ended(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    until = harness.clock.monotonic_ns() + 10_000_000_000
    post = request("/", "Content-Length: 0", method="DELETE")
    harness.proxy.take_read_only(ReadOnly(route="default", until_ns=until))
    assert harness.ask(post).take().startswith(b"HTTP/1.1 503 ")
    harness.proxy.take_read_only(ReadOnly(route="default", until_ns=0))
    client = harness.ask(post)
    harness.answer()
    assert client.take() == OK


def test_a_route_that_this_worker_does_not_have_is_of_a_later_one(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.proxy.take_read_only(ReadOnly(route="x", until_ns=1 << 62))
    client = harness.ask(request("/", "Content-Length: 0", method="DELETE"))
    harness.answer()
    assert client.take() == OK
