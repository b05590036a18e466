"""Sends spans to an OpenTelemetry collector by OTLP over HTTP (L2): the only importer of opentelemetry.

Only the supervisor loads it, in the thread that sends, and only if traces are on: the libraries take 12 MiB
and 0.1 s. They read the variables `OTEL_*` themselves.
"""

import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from balancer.telemetry.spans import Span

_NAME: Final = "balancer"
_UNSET: Final = "unknown_service"  # how the library calls a service without a name
_OK: Final = Status(StatusCode.UNSET)


class _LastWords(logging.Handler):
    """Keeps what the library says last, instead of a line for each failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class Otlp:
    """Exports spans of the instance `name`. Call it in one thread, but for `hurry`."""

    def __init__(self, name: str, version: str) -> None:
        """Raises an exception of the library if the variables make no sense."""
        self._said = _LastWords()
        library = logging.getLogger("opentelemetry")
        library.handlers = [self._said]
        library.propagate = False
        self._exporter = OTLPSpanExporter()
        self._resource = _resource(name, version)
        self._scope = InstrumentationScope(_NAME, version)

    def export(self, spans: Sequence[Span]) -> str:
        """Send these spans. Returns why that has failed, "" if it has not."""
        self._said.text = ""
        result = self._exporter.export([self._readable(each) for each in spans])
        return "" if result is SpanExportResult.SUCCESS else self._said.text or "the collector refused them"

    def hurry(self) -> None:
        """Give up what is not sent at the first try."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it has no annotations

    def _readable(self, span: Span) -> ReadableSpan:
        trace, flags = int(span.trace, 16), TraceFlags(span.flags)
        state = TraceState.from_header([span.state]) if span.state else None
        parent = None
        if span.parent:
            parent = SpanContext(trace, int(span.parent, 16), span.remote, flags, state)
        return ReadableSpan(
            span.name,
            SpanContext(trace, int(span.span, 16), False, flags, state),
            parent,
            self._resource,
            span.attributes,
            kind=SpanKind.SERVER if span.is_server else SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, span.description or None) if span.is_error else _OK,
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )


def _resource(name: str, version: str) -> Resource:
    """What the variables say of this service, and the rest by us."""
    found = Resource.create()
    ours = {SERVICE_VERSION: version, SERVICE_INSTANCE_ID: name}
    ours = {key: value for key, value in ours.items() if value and key not in found.attributes}
    if str(found.attributes.get(SERVICE_NAME, _UNSET)).startswith(_UNSET):
        ours[SERVICE_NAME] = _NAME
    return found.merge(Resource(ours))
