"""The modules of the dashboard by themselves, in a browser: words, patches, scales and strips."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from balancer.admin.app import build_app
from tests.admin.harness import FakeInstance
from tests.fakes.page import Browser, Page

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

NONE = "\u2013"
NOW = "2026-02-01T12:03:04.500Z"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def blank(chromium: Browser) -> AsyncIterator[Page]:
    """A page of the admin listener that runs nothing by itself."""
    async with TestServer(build_app(FakeInstance())) as server, chromium.page() as page:
        await page.open(str(server.make_url("/assets/icon.svg")))
        yield page


async def called(page: Page, module: str, name: str, *arguments: Any) -> Any:
    """What a function of a module returns."""
    given = ", ".join(json.dumps(one) for one in arguments)
    return await page.evaluate(f"import('/assets/{module}.js').then((module) => module.{name}({given}))")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rate", None, NONE),
        ("rate", 0, "0/s"),
        ("rate", 0.123, "0.12/s"),
        ("rate", 4.25, "4.3/s"),
        ("rate", 42.4, "42/s"),
        ("rate", 1234.5, "1,235/s"),
        ("duration", None, NONE),
        ("duration", 0.4, "0.40 ms"),
        ("duration", 12.3, "12 ms"),
        ("duration", 1500, "1.5 s"),
        ("duration", 120_000, "2 min"),
        ("span", 59.4, "59 s"),
        ("span", 3900, "1 h 5 min"),
        ("span", 200_000, "2 days"),
        ("share", None, NONE),
        ("share", 0, "0 %"),
        ("share", 0.0004, "under 0.1 %"),
        ("share", 0.012, "1.2 %"),
        ("share", 0.5, "50 %"),
        ("share", 0.9999, "over 99.9 %"),
        ("share", 1, "100 %"),
        ("bytesPerSecond", 512, "512 B/s"),
        ("bytesPerSecond", 1_400_000, "1.4 MB/s"),
        ("memory", 64 * 1024 * 1024, "64 MiB"),
        ("few", {"n": 7}, "n\u00a0=\u00a07"),
        ("few", {"n": 0}, ""),
        ("few", {"n": 5000}, ""),
        ("isItTheBalancer", "upstream", "No. It is this upstream."),
        ("isItTheBalancer", "balancer", "Yes."),
        ("isItTheBalancer", "", "Not known."),
    ],
)
async def test_figures_have_units_and_unknown_ones_say_so(
    blank: Page, name: str, value: Any, text: str
) -> None:
    assert await called(blank, "words", name, value) == text


async def test_times_are_in_utc_and_have_a_day_if_it_is_not_today(blank: Page) -> None:
    assert await called(blank, "words", "clock", NOW, "2026-02-01T23:00:00Z") == "12:03:04"
    assert await called(blank, "words", "clock", NOW, "2026-02-02T00:00:00Z") == "2026-02-01 12:03:04"
    assert await called(blank, "words", "since", NOW, "2026-02-01T12:05:10Z") == "12:03:04, 2 min ago"


@pytest.mark.parametrize(
    ("slo", "word"),
    [
        (None, "nothing promised"),
        ({"met": None, "n": 7}, "too few requests to tell"),
        ({"met": True, "n": 700, "slow_share": 0.01, "failed_share": 0}, "kept"),
        ({"met": False, "n": 700, "slow_share": 0.12, "failed_share": 0}, "missed"),
    ],
    ids=["none", "few", "kept", "missed"],
)
async def test_a_promise_is_kept_or_missed_or_not_known(
    blank: Page, slo: dict[str, Any] | None, word: str
) -> None:
    promised = {"latency": 300, "percentile": 95, "errors": 0.01}
    found = await called(blank, "words", "promise", slo and {**promised, **slo})
    assert found["word"] == word
    if word == "missed":
        assert found["text"] == "12 % later than 300 ms (at most 5.0 %)"


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
    ],
)
async def test_merge_patches_are_those_of_rfc_7396(blank: Page, target: Any, patch: Any, result: Any) -> None:
    assert await called(blank, "live", "merged", target, patch) == result


async def test_a_patch_does_not_reach_the_prototype_of_objects(blank: Page) -> None:
    await blank.evaluate(
        """import('/assets/live.js').then(({ merged }) =>
             merged({}, JSON.parse('{"__proto__": {"reached": 1}, "a": {"__proto__": {"reached": 1}}}')))"""
    )
    assert await blank.evaluate("({}).reached === undefined")


@pytest.mark.parametrize(
    ("most", "end"), [(0, 1), (0.03, 0.03), (7, 8), (10, 10), (101, 150), (4800, 5000), (5100, 6000)]
)
async def test_a_scale_ends_at_a_round_number(blank: Page, most: float, end: float) -> None:
    assert await called(blank, "chart", "scale", most) == pytest.approx(end)


async def test_a_line_has_gaps_where_nothing_is_known(blank: Page) -> None:
    assert await called(blank, "chart", "path", [0, 10, None, 5, None], 5, 10) == (
        "M0.0 100.0L150.0 0.0M450.0 50.0h1"
    )


@pytest.mark.parametrize(
    ("known", "span"), [(0, 120), (120, 120), (121, 300), (601, 1800), (1800, 1800), (9999, 1800)]
)
async def test_charts_show_the_shortest_span_that_has_room_for_what_is_known(
    blank: Page, known: int, span: int
) -> None:
    assert await called(blank, "history", "fitting", known) == span


async def test_a_strip_begins_with_the_state_before_it_and_lasts_until_now(blank: Page) -> None:
    changes = [[0, "active"], [50, "ejected"], [150, "active"], [190, ""]]
    assert await called(blank, "track", "states", changes, 100, 200) == [
        {"state": "ejected", "from": 100, "to": 150},
        {"state": "active", "from": 150, "to": 190},
    ]


@pytest.mark.parametrize(
    ("pool", "rank"),
    [
        ({"eligible": 0, "total": 2}, 0),
        ({"eligible": 2, "total": 2, "overload": {}}, 1),
        ({"eligible": 3, "total": 4}, 2),
        ({"eligible": 1, "total": 2, "on_backup": True}, 2),
        ({"eligible": 2, "total": 2, "problems": {"dns://a": "why"}}, 4),
        ({"eligible": 4, "total": 4}, 5),
    ],
)
async def test_pools_are_sorted_by_how_ill_they_are(blank: Page, pool: dict[str, Any], rank: int) -> None:
    found = await called(blank, "pools", "condition", pool)
    assert found[0] == rank
    assert (found[1] == "ok") is (rank == 5), "a pool with one upstream out is never green"


READY = {"state": "ready", "cpu": 0.12, "lag": 0.3}
ILL = {"state": "ejected", "why": "500 on /", "whose": "app"}


@pytest.mark.parametrize(
    ("finding", "pool", "workers", "why", "whose"),
    [
        (
            {"pool": "web", "upstream": "app1"},
            {"upstreams": {"app1": ILL}},
            [READY],
            "500 on /",
            "No. It is the app that runs there.",
        ),
        ({"pool": "web"}, {"upstreams": {"app1": ILL}}, [READY], "app1: 500 on /", "No. It is the app"),
        (
            {"pool": "web"},
            {"upstreams": {}, "overload": {}},
            [READY],
            "More requests come",
            "No. The upstreams",
        ),
        ({"pool": "web"}, {"upstreams": {}}, [READY], "", "No sign of that: its busiest worker uses 12 %"),
        ({}, {"upstreams": {}}, [READY, {**READY, "cpu": 0.97}], "", "Perhaps: its busiest worker uses 97 %"),
        ({}, {"upstreams": {}}, [READY, {**READY, "lag": 400}], "", "Perhaps: its busiest worker uses 12 %"),
        ({}, {"upstreams": {}}, [{**READY, "state": "starting"}], "", "Perhaps: its worker 0 is starting."),
    ],
    ids=["upstream", "upstreams", "overload", "no sign", "busy", "late", "away"],
)
async def test_it_says_whether_it_is_the_balancer(
    blank: Page, finding: Any, pool: Any, workers: list[Any], why: str, whose: str
) -> None:
    overview = {"pools": {"web": pool}, "workers": {str(slot): one for slot, one in enumerate(workers)}}
    found = await called(blank, "findings", "explained", finding, overview)
    assert found["why"].startswith(why)
    assert found["whose"].startswith(whose)
