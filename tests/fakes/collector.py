"""An OpenTelemetry collector: takes spans by OTLP over HTTP, and keeps them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.instance import PATIENCE

SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


def attributes(pairs: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


@dataclass
class Seen:
    """A span; ids in hex digits."""

    span: Span
    resource: Mapping[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.span.attributes)

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def is_error(self) -> bool:
        return self.span.status.code == self.span.status.STATUS_CODE_ERROR


@dataclass
class Collector:
    """`status` is that of its answers. While `stuck` is not set it answers nothing."""

    url: str = ""
    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    works: asyncio.Event = field(default_factory=asyncio.Event)
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()  # aiohttp has undone the content coding
        async with self._came:
            self.headers.append(request.headers)
            self._came.notify_all()
        await self.works.wait()
        if self.status == 200:
            async with self._came:
                self.spans += _spans(ExportTraceServiceRequest.FromString(body))
                self._came.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=answer, content_type="application/x-protobuf")

    async def wait(self, enough: Callable[["Collector"], bool]) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: enough(self))

    async def has(self, count: int) -> list[Seen]:
        """All spans, once there are so many: those of kind server first."""
        await self.wait(lambda one: len(one.spans) >= count)
        return sorted(self.spans, key=lambda one: (one.span.kind, one.span.start_time_unix_nano))


def _spans(request: ExportTraceServiceRequest) -> list[Seen]:
    return [
        Seen(span, attributes(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that works, on a free port."""
    collector = Collector()
    collector.works.set()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with TestServer(app, host="127.0.0.1") as server:
        collector.url = f"http://127.0.0.1:{server.port}"
        try:
            yield collector
        finally:
            collector.works.set()
