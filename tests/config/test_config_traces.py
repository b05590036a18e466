"""The settings of traces, and the standard variables beside them."""

import sys
from typing import Any

import pytest

from balancer.config import traces
from balancer.config.export import export
from balancer.config.loader import Loaded, load_with_origins
from balancer.errors import SettingsError
from balancer.runtime.blueprint import instance_spec
from balancer.spec.worker import TracesSpec

UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}
ON = {"BALANCER_TRACES__ENABLED": "true"}


def loaded(**environ: str) -> Loaded:
    return load_with_origins({**UPSTREAMS, **environ})


def spec(**environ: str) -> TracesSpec | None:
    """What workers get."""
    return instance_spec(loaded(**environ).settings, via="", max_connections=10).worker.traces


def test_traces_are_off_unless_they_are_wanted() -> None:
    assert spec() is None
    assert spec(OTEL_TRACES_SAMPLER="always_on", OTEL_EXPORTER_OTLP_PROTOCOL="grpc") is None
    assert spec(**ON) == TracesSpec(sample=1.0)
    assert spec(**ON, BALANCER_TRACES__SAMPLE="0.1") == TracesSpec(sample=0.1)


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "much"])
def test_a_share_is_from_0_to_1(share: str) -> None:
    with pytest.raises(SettingsError, match="BALANCER_TRACES__SAMPLE"):
        loaded(**ON, BALANCER_TRACES__SAMPLE=share)


@pytest.mark.parametrize("module", ["opentelemetry.sdk.trace", "opentelemetry.nothing.here"])
def test_without_the_extra_the_error_says_how_to_install_it(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_NEEDED", (module,))
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert loaded().warnings == ()
    with pytest.raises(SettingsError) as caught:
        loaded(**ON)
    assert caught.value.problems == [
        "BALANCER_TRACES__ENABLED: true needs the package opentelemetry; install it: "
        "pip install 'balancer[otel]'"
    ]


@pytest.mark.parametrize(
    ("otel", "sample"),
    [
        ({"TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        ({"TRACES_SAMPLER": "parentbased_traceidratio", "TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"TRACES_SAMPLER": "parentbased_traceidratio"}, 1.0),
        ({"TRACES_SAMPLER": " ParentBased_Always_Off "}, 0.0),
    ],
)
def test_a_standard_sampler_says_the_share_unless_it_is_set(otel: dict[str, str], sample: float) -> None:
    environ = {f"OTEL_{name}": value for name, value in otel.items()}
    assert spec(**ON, **environ) == TracesSpec(sample=sample)
    assert spec(**ON, **environ, BALANCER_TRACES__SAMPLE="0.5") == TracesSpec(sample=0.5)
    found = loaded(**ON, **environ)
    assert found.warnings == ()
    assert (export(found).settings["traces"]["sample"], export(found).origins["traces.sample"]) == (
        sample,
        "environment",
    )


@pytest.mark.parametrize(
    "otel",
    [{"SDK_DISABLED": "TRUE"}, {"TRACES_EXPORTER": "none"}],
    ids=["the library is off", "no exporter"],
)
def test_standard_variables_turn_traces_off(otel: dict[str, str]) -> None:
    environ = {f"OTEL_{name}": value for name, value in otel.items()}
    assert spec(**ON, **environ) is None
    (warning,) = loaded(**ON, **environ).warnings
    assert warning.startswith("BALANCER_TRACES__ENABLED: true has no effect while OTEL_")
    assert loaded(**environ).warnings == ()


@pytest.mark.parametrize(
    ("otel", "begin"),
    [
        ({"TRACES_EXPORTER": "console"}, 'OTEL_TRACES_EXPORTER: "console" has no effect'),
        ({"EXPORTER_OTLP_PROTOCOL": "grpc"}, 'OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" has no effect'),
        (
            {"EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json" has no effect',
        ),
        ({"TRACES_SAMPLER": "always_on"}, 'OTEL_TRACES_SAMPLER: "always_on" has no effect: '),
        (
            {"TRACES_SAMPLER": "parentbased_traceidratio", "TRACES_SAMPLER_ARG": "half"},
            'OTEL_TRACES_SAMPLER_ARG: "half" has no effect',
        ),
    ],
)
def test_standard_variables_without_effect_are_named(otel: dict[str, Any], begin: str) -> None:
    environ = {f"OTEL_{name}": value for name, value in otel.items()}
    (warning,) = loaded(**ON, **environ).warnings
    assert warning.startswith(begin)
    assert spec(**ON, **environ) == TracesSpec(sample=1.0)
    assert loaded(**environ).warnings == ()
