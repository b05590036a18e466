"""Traces: what a collector gets of requests through a whole balancer, and what their apps are told."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.collector import CLIENT, SERVER, Collector, Seen, collecting
from tests.fakes.instance import Answer, Balancer, Client, get, running
from tests.fakes.reloading import reloading
from tests.fakes.traces import PARENT, TRACE

pytestmark = pytest.mark.integration

SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-00"
_PARENT_LINE = re.compile(rb"\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n")


@dataclass
class Stage:
    """A balancer without checks, its replicas, and its collector."""

    balancer: Balancer
    apps: list[AppReplica]
    collector: Collector

    async def get(self, *lines: str, target: str = "/") -> Answer:
        """The response to one request with these header lines."""
        return (await self.all([lines], target))[0]

    async def all(self, requests: list[tuple[str, ...]], target: str = "/") -> list[Answer]:
        """The responses to requests on one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.balancer.port)
        client = Client(reader, writer)
        answers = []
        for lines in requests:
            head = [f"GET {target} HTTP/1.1", "Host: shop.example", *lines]
            writer.write("\r\n".join([*head, "", ""]).encode())
            answers.append(await client.answer())
        await client.close()
        return answers

    def told(self) -> list[tuple[str, str, str]]:
        """Trace, parent and flags that the first replica was told."""
        found = [_PARENT_LINE.findall(head) for head in self.apps[0].heads]
        assert all(len(one) == 1 for one in found)
        return [tuple(part.decode() for part in one[0]) for one in found]

    async def spans(self, exported: float, **others: float) -> None:
        """Wait until so many spans are counted as exported, and those of other results."""
        for result, number in {"exported": exported, **others}.items():
            await self.balancer.shows(f'balancer_trace_spans_total{{result="{result}"}}', number)


@asynccontextmanager
async def staged(
    monkeypatch: pytest.MonkeyPatch, apps: int = 1, otel: dict[str, str] | None = None, **settings: Any
) -> AsyncIterator[Stage]:
    """`otel` are further variables, without their prefix."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(apps)]
        collector = await stack.enter_async_context(collecting())
        variables = {"EXPORTER_OTLP_ENDPOINT": collector.url, "BSP_SCHEDULE_DELAY": "50", **(otel or {})}
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_{name}", value)
        settings = {"TRACES__ENABLED": "true", "HEALTH_CHECK__ENABLED": "false", **settings}
        upstreams = ",".join(replica.address for replica in replicas)
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, **settings))
        yield Stage(balancer, replicas, collector)


def kinds(spans: list[Seen]) -> list[Any]:
    return [one.span.kind for one in spans]


async def test_a_client_s_trace_goes_on_through_the_balancer_to_its_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(monkeypatch) as stage:
        assert (await stage.get(SAMPLED, "tracestate: a=1", target="/x?token=secret")).status == 200
        server, client = await stage.collector.has(2)
        assert kinds([server, client]) == [SERVER, CLIENT]
        assert (server.trace, client.trace) == (TRACE, TRACE)
        assert (server.parent, client.parent) == (PARENT, server.id)
        assert stage.told() == [(TRACE, client.id, "01")]
        assert b"\r\ntracestate: a=1\r\n" in stage.apps[0].heads[0]
        assert (server.span.trace_state, server.span.name) == ("a=1", "GET default")
        assert server.attributes["url.query"] == "token=REDACTED"
        assert server.attributes["server.address"] == "shop.example"
        assert client.attributes["balancer.upstream"] == stage.apps[0].address
        assert client.attributes["http.response.status_code"] == 200
        assert server.resource["service.name"] == "balancer"
        begun, ended = server.span.start_time_unix_nano, server.span.end_time_unix_nano
        assert begun <= client.span.start_time_unix_nano < client.span.end_time_unix_nano <= ended
        await stage.spans(2, dropped=0, failed=0)


async def test_a_trace_begins_here_if_the_client_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch) as stage:
        bad = f"traceparent: 00-{TRACE}-{'0' * 16}-01"
        await stage.all([(), (bad, "tracestate: a=1")])
        spans = await stage.collector.has(4)
        servers, clients = spans[:2], spans[2:]
        assert {one.parent for one in servers} == {""}
        assert stage.told() == [(one.trace, one.id, "01") for one in clients]
        assert len({one.trace for one in spans} | {TRACE}) == 3
        assert not any(b"tracestate" in head for head in stage.apps[0].heads)


async def test_each_attempt_of_a_request_is_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, apps=2, POLICY="round_robin") as stage:
        for app in stage.apps:
            app.status = 503
        assert (await stage.get(SAMPLED)).status == 503
        server, first, second = await stage.collector.has(3)
        assert {one.parent for one in (first, second)} == {server.id}
        assert [one.attributes.get("http.request.resend_count") for one in (first, second)] == [None, 1]
        assert [one.attributes["error.type"] for one in (server, first, second)] == ["503"] * 3
        assert all(one.is_error for one in (server, first, second))
        told = [_PARENT_LINE.findall(app.heads[0])[0][1].decode() for app in stage.apps]
        assert set(told) == {first.id, second.id}


async def test_a_response_that_is_broken_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch) as stage:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await stage.get(SAMPLED, target="/cut")
        for one in await stage.collector.has(2):
            assert one.is_error
            assert one.attributes["http.response.status_code"] == 200
            assert one.attributes["error.type"] == "response_truncated"


async def test_what_the_client_does_not_sample_is_passed_on_and_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(monkeypatch) as stage:
        await stage.all([(UNSAMPLED, "tracestate: a=1"), (SAMPLED,), (UNSAMPLED,)])
        _, client = await stage.collector.has(2)
        unsampled = (TRACE, PARENT, "00")
        assert stage.told() == [unsampled, (TRACE, client.id, "01"), unsampled]
        await stage.spans(2, dropped=0)


async def test_with_a_sample_of_0_only_clients_traces_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, TRACES__SAMPLE="0") as stage:
        await stage.all([(), (SAMPLED,), ()])
        await stage.collector.has(2)
        await stage.spans(2, dropped=0)
        assert [flags for _, _, flags in stage.told()] == ["00", "01", "00"]
        assert len(set(stage.told())) == 3


async def test_standard_variables_shape_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    otel = {
        "EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0ken,x-tenant=a",
        "EXPORTER_OTLP_COMPRESSION": "gzip",
        "SERVICE_NAME": "edge",
        "RESOURCE_ATTRIBUTES": "deployment.environment=test,service.instance.id=one",
        "TRACES_SAMPLER": "parentbased_always_off",
    }
    async with staged(monkeypatch, otel=otel) as stage:
        await stage.all([(), (SAMPLED,)])
        spans = await stage.collector.has(2)
        headers = stage.collector.headers[0]
        assert headers["Authorization"] == "Bearer t0ken"
        assert (headers["X-Tenant"], headers["Content-Encoding"]) == ("a", "gzip")
        for one in spans:
            assert one.resource["service.name"] == "edge"
            assert one.resource["deployment.environment"] == "test"
            assert one.resource["service.instance.id"] == "one"
        await stage.spans(2)


async def test_a_collector_that_is_away_costs_spans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, otel={"EXPORTER_OTLP_TIMEOUT": "0.2"}) as stage:
        stage.collector.status = 400
        assert [one.status for one in await stage.all([(SAMPLED,)] * 3)] == [200] * 3
        await stage.spans(0, failed=6)
        assert "spans cannot be sent" in await stage.balancer.says("collector")
        stage.collector.status = 200
        await stage.get(SAMPLED)
        await stage.spans(2, failed=6)
        await stage.balancer.says("the collector takes spans again")


async def test_a_slow_collector_costs_spans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    otel = {"BSP_MAX_QUEUE_SIZE": "4", "BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    async with staged(monkeypatch, otel=otel) as stage:
        stage.collector.works.clear()
        await stage.get(SAMPLED)
        await stage.collector.wait(lambda one: len(one.headers) == 1)
        assert [one.status for one in await stage.all([(SAMPLED,)] * 5)] == [200] * 5
        await stage.spans(0, dropped=6)
        stage.collector.works.set()
        await stage.spans(6, dropped=6, failed=0)


async def test_the_last_spans_are_sent_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, otel={"BSP_SCHEDULE_DELAY": "600000"}) as stage:
        await stage.get(SAMPLED)
        stage.balancer.signal(signal.SIGTERM)
        assert await stage.balancer.exit_code() == 0
        assert len(stage.collector.spans) == 2


async def test_a_collector_that_is_stuck_holds_the_exit_up_for_two_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(monkeypatch) as stage:
        stage.collector.works.clear()
        await stage.get(SAMPLED)
        await stage.collector.wait(lambda one: len(one.headers) == 1)
        await stage.get(SAMPLED)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        stage.balancer.signal(signal.SIGTERM)
        assert await stage.balancer.exit_code() == 0
        assert loop.time() - begun < 9  # the exporter alone would wait for 10 s
        assert "the last 2 spans are lost" in await stage.balancer.says("spans are lost")


async def test_a_dial_that_fails_is_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, apps=2, POLICY="round_robin") as stage:
        await stage.apps[0].leave()
        await stage.all([(SAMPLED,)] * 2)
        refused = [one for one in await stage.collector.has(5) if one.attributes.get("error.type")]
        failed = refused[0]
        assert failed.attributes["error.type"] == "connect_refused"
        assert (failed.is_error, failed.span.kind) == (True, CLIENT)
        assert "http.response.status_code" not in failed.attributes
        (again,) = [one for one in stage.collector.spans if one.parent == failed.parent and one is not failed]
        assert again.attributes["http.request.resend_count"] == 1
        assert again.id in {_PARENT_LINE.findall(head)[0][1].decode() for head in stage.apps[1].heads}


async def test_a_reload_turns_traces_on_and_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with collecting() as collector, app_replica() as app:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        async with reloading(tmp_path, {}, UPSTREAMS=app.address) as one:
            exported = 'balancer_trace_spans_total{result="exported"}'
            for number in (1, 2):
                assert (await one.reload(traces={"enabled": True}))["how"] == "new_workers"
                await one.has_workers(1)
                await get(one.balancer.port)
                await one.balancer.shows(exported, 2 * number)
                await one.reload(traces={"enabled": False})
                await one.has_workers(1)
                await get(one.balancer.port)
            assert len(collector.spans) == 4
            assert b"traceparent" not in app.heads[-1]


async def test_without_traces_the_fields_of_a_trace_are_forwarded_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged(monkeypatch, TRACES__ENABLED="false") as stage:
        lines = ("Traceparent: anything", "tracestate: ,")
        await stage.get(*lines)
        for line in lines:
            assert f"\r\n{line}\r\n".encode() in stage.apps[0].heads[0]
        assert await stage.balancer.metric('balancer_trace_spans_total{result="exported"}') == 0
