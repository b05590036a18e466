"""Every metric and label in rules, docs and panels occurs in a scrape of a balancer with all features on."""

import asyncio
import json
import re
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.app_replica import app_replica
from tests.fakes.https import Authority
from tests.fakes.instance import Client, get, running
from tests.prometheus.promql import Known, queries
from tests.prometheus.rules import ROOT, alerts, recorded

pytestmark = pytest.mark.integration

DASHBOARDS = ROOT / "config/grafana/dashboards"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"```promql\n(.*?)```", re.DOTALL)
_TEMPLATE_QUERY = re.compile(r"printf\s+`([^`]*)`")
_DURATION = re.compile(r"\[\$\{?\w+\}?s?")
_TEXT = re.compile(r'"[^"]*"')
_VARIABLE = re.compile(r"\$\{?\w+\}?")


async def scraped(directory: Path) -> Known:
    """Everything that a balancer exposes which uses all there is."""
    authority = Authority(directory)
    members, storage = directory / "members.json", directory / "storage"
    storage.mkdir()
    settings = {
        "ROUTES": "/old/=stable, /=stable:50|canary:50",
        "SPLIT__SECRET": "of the test, of the test",
        "STICKY__ENABLED": "true",
        "STICKY__SECRET": "of the test, of the test",
        "SLO__LATENCY": "300ms",
        "LIMITS__MAX_INFLIGHT": "4",
        "TLS__LISTEN": "127.0.0.1:0",
        "TLS__CERTIFICATES": ":".join(authority.site("shop.test")),
        "TLS__ACME__DOMAINS": "shop.example",
        "TLS__ACME__STORAGE": str(storage),
        "TLS__ACME__DIRECTORY_URL": "https://localhost:1/dir",
        "POOLS__CANARY__UPSTREAMS": f"file://{members}",
        "TRACES__ENABLED": "true",
    }
    async with AsyncExitStack() as stack:
        stable, canary = [await stack.enter_async_context(app_replica(name)) for name in ("a", "b")]
        members.write_text(json.dumps([canary.address]))
        settings["POOLS__STABLE__UPSTREAMS"] = stable.address
        balancer = await stack.enter_async_context(running(**settings))
        for target in ("/old/", *["/"] * 8):
            await get(balancer.port, target)
        for status in (404, 500):
            stable.status = canary.status = status
            await get(balancer.port, "/old/")
            await get(balancer.port, "/")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await get(balancer.port, "/cut")
        client = await Client.connect(balancer.port)
        client.send("/", "POST")
        await client.answer()
        await client.close()
        text = (await get(balancer.admin_port, "/metrics")).body.decode()
    series: dict[str, list[dict[str, str]]] = defaultdict(list)
    series["up"].append({})
    series["ALERTS"] = [{"alertname": one.name, "alertstate": "firing"} for one in alerts()]
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series[sample.name].append(sample.labels)
    known = Known(series)
    for name, expression in recorded().items():
        _, labels = known.problems(expression)
        known.record(name, labels)
    return known


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return asyncio.run(scraped(tmp_path_factory.mktemp("scraped")))


def of_rules() -> dict[str, str]:
    """The expressions of rules, and the queries of their texts."""
    found = {f"record {name}": expression for name, expression in recorded().items()}
    for number, one in enumerate(alerts()):
        found[f"alert {number} {one.name}"] = one.expr
        for text, annotation in one.annotations.items():
            for count, query in enumerate(_TEMPLATE_QUERY.findall(annotation)):
                if re.search(r"\w:|[a-z]_", query):
                    found[f"alert {number} {one.name} {text} {count}"] = re.sub("%f", "1", query)
    return found


def of_docs() -> dict[str, str]:
    """The blocks of queries on pages."""
    return {
        f"{page.relative_to(ROOT)} {number}.{count}": query
        for page in PAGES
        for number, block in enumerate(_BLOCK.findall(page.read_text("utf-8")))
        for count, query in enumerate(queries(block))
    }


def filled_in(expression: str) -> str:
    """A panel's query with something in the place of Grafana's variables."""
    expression = _DURATION.sub("[5m", expression)
    expression = _TEXT.sub(lambda text: _VARIABLE.sub(".*", text[0]), expression)
    return _VARIABLE.sub("1", expression)


def of_panels() -> dict[str, str]:
    """The queries of dashboards."""
    panels: list[tuple[str, Any]] = [
        (path.stem, panel)
        for path in sorted(DASHBOARDS.glob("*.json"))
        for panel in json.loads(path.read_text("utf-8"))["panels"]
    ]
    return {
        f"{name}: {panel['title']} {target['refId']}": filled_in(target["expr"])
        for name, panel in panels
        for target in panel.get("targets", ())
    }


QUERIES = {**of_rules(), **of_docs(), **of_panels()}


@pytest.mark.parametrize("name", QUERIES)
def test_what_a_query_asks_for_is_there(known: Known, name: str) -> None:
    assert known.problems(QUERIES[name])[0] == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("balancer_pool_panik == 1", "there is no metric balancer_pool_panik"),
        ('balancer_upstream_up{state="active"}', "balancer_upstream_up has no label state"),
        ('balancer_upstream_state{state="actve"}', 'no series is balancer_upstream_state{state="actve"}'),
        ("sum by (poool) (balancer_pool_panic)", "['poool'] is in no label of balancer_pool_panic"),
        ("balancer_pool_panic / balancer_upstream_up", "['upstream'] is on one side only of"),
        (
            "balancer_pool_panic / on (pool, upstream) balancer_upstream_up",
            "['upstream'] is not on both sides",
        ),
    ],
)
def test_mistakes_are_found(known: Known, query: str, problem: str) -> None:
    ((found,), _) = known.problems(query)
    assert found.startswith(problem)
