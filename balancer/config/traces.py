"""The settings `TRACES__` (L1), and what the standard variables `OTEL_*` say beside them."""

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Final

from pydantic import Field

from balancer.config.group import Group
from balancer.config.types import Number

_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
# Those that do not decide against what a client's trace says, as the balancer never does.
_SAMPLERS: Final = {"parentbased_always_on": 1.0, "parentbased_always_off": 0.0}
_BY_RATIO: Final = "parentbased_traceidratio"


class TracesSettings(Group):
    """Spans of requests, for an OpenTelemetry collector."""

    enabled: bool = Field(
        default=False,
        description="Send a span for each request, and one for each attempt, to an OpenTelemetry collector "
        "(docs/traces.md). If off, `traceparent` and `tracestate` are forwarded unchanged.",
    )
    sample: Number = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the traces begun here that are recorded, from 0 to 1. For others, the client's "
        "sampled flag decides. If unset, `OTEL_TRACES_SAMPLER` says it.",
    )


def missing() -> Iterator[str]:
    """The end of a sentence about what is not installed, if it is not."""
    for module in _NEEDED:
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            name = module.partition(".")[0]
            yield f"needs the package {name}; install it: pip install 'balancer[otel]'"
            return


class Otel:
    """What `OTEL_*` say in this environment. `off` names the variable that turns traces off, "" for none;
    `sample` is the share that a sampler takes, None if none is named. `ignored` are sentences about variables
    without effect."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.off = ""
        self.sample: float | None = None
        self.ignored: list[str] = []
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            self.off = "OTEL_SDK_DISABLED=true"
        exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
        if exporter == "none":
            self.off = self.off or "OTEL_TRACES_EXPORTER=none"
        elif exporter not in ("", "otlp"):
            self.ignored.append(f'OTEL_TRACES_EXPORTER: "{exporter}" has no effect: spans are sent by OTLP')
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            protocol = environ.get(name, "").strip().lower()
            if protocol not in ("", "http/protobuf"):
                text = "spans are sent by http/protobuf, so the endpoint must take that (usually port 4318)"
                self.ignored.append(f'{name}: "{protocol}" has no effect: {text}')
        self._sampler(environ)

    def _sampler(self, environ: Mapping[str, str]) -> None:
        name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
        if name == _BY_RATIO:
            text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
            try:
                share = float(text)
            except ValueError:
                share = math.nan
            if 0 <= share <= 1:
                self.sample = share
            else:
                why = "it is no number from 0 to 1"
                self.ignored.append(f'OTEL_TRACES_SAMPLER_ARG: "{text}" has no effect: {why}')
        elif name in _SAMPLERS:
            self.sample = _SAMPLERS[name]
        elif name:
            self.ignored.append(
                f'OTEL_TRACES_SAMPLER: "{name}" has no effect: clients\' sampled flags are always honoured; '
                f"write {', '.join(_SAMPLERS)} or {_BY_RATIO}, or set TRACES__SAMPLE"
            )
