"""Every example of docs/traces.md is valid, and its tables have all there is."""

import re
from pathlib import Path
from typing import Any

import yaml

from balancer.config.loader import load_with_origins
from balancer.runtime.span_sender import Batching
from balancer.telemetry.spans import spans
from tests.fakes.traces import traced_attempt, traced_request

_PAGE = (Path(__file__).parents[2] / "docs/traces.md").read_text(encoding="utf-8")
UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


def test_the_variables_turn_traces_on() -> None:
    for text in _blocks("sh"):
        loaded = load_with_origins({**UPSTREAMS, **dict(re.findall(r"^(\w+)=(\S+)$", text, re.MULTILINE))})
        assert loaded.warnings == ()
        assert loaded.settings.traces.enabled or loaded.settings.forwarded.drop


def test_the_compose_file_is_one_and_its_settings_are_valid() -> None:
    (text,) = _blocks("yaml")
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    environ = services["balancer"]["environment"]
    loaded = load_with_origins(environ)
    assert loaded.warnings == ()
    assert (loaded.settings.traces.enabled, loaded.settings.traces.sample) == (True, 0.1)
    host = environ["OTEL_EXPORTER_OTLP_ENDPOINT"].split("/")[2].split(":")[0]
    assert host in services
    assert loaded.settings.upstreams[0].id.split(":")[0] in services


def test_the_table_names_every_attribute() -> None:
    requests = [
        traced_request(
            method="BREW",
            target="/?a=b",
            host="a:1",
            reason="truncated",
            queue_ns=1,
            attempts=(
                traced_attempt(1, sent_ns=2_000),
                traced_attempt(2, status=0, failure="upstream_closed"),
            ),
        ),
        traced_request(attempts=(traced_attempt(host="unix:/run/a", upstream="unix:/run/a"),)),
    ]
    used = {name for one in requests for span in spans(one) for name in span.attributes}
    named = set(
        re.findall(r"`((?:http|url|server|client|network|user_agent|error|balancer)\.[a-z_.]+)`", _PAGE)
    )
    assert used <= named


def test_the_defaults_are_right() -> None:
    batching = Batching()
    assert f"{batching.room:,} if unset" in _PAGE
    assert f"spans of a batch ({batching.size})" in _PAGE
    assert f"fewer are sent ({batching.delay * 1000:.0f})" in _PAGE
