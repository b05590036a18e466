"""What people read first."""

from typing import Any

import pytest

from balancer.admin.view import AcmeView, CertificateView
from balancer.overview.findings import Facts, findings
from balancer.overview.pool_findings import FEW, NAMED
from balancer.overview.shape import FindingShape, OverviewShape, PoolShape, UpstreamShape
from tests.fakes.overviews import TIME, overview_shape, pool_shape, rates_shape, upstream_shape

NOW = 784111777.0
OUT = upstream_shape(
    state="ejected", eligible=False, why="connection refused", todo="See whether it runs.", whose="upstream"
)


def facts(tree: OverviewShape | None = None, **changed: Any) -> Facts:
    """All is well but for what is changed."""
    tree = tree or overview_shape()
    made = Facts(NOW, tree["routes"], tree["pools"], tree["workers"], [], False)
    return made._replace(**changed)


def first(**changed: Any) -> FindingShape:
    return findings(facts(**changed))[0]


def pool(**changed: Any) -> FindingShape:
    return first(pools={"web": pool_shape(**changed)})


def upstreams(*states: Any) -> dict[str, Any]:
    return {f"app{number}": one for number, one in enumerate(states, 1)}


def test_if_all_is_well_it_says_so_with_the_load() -> None:
    (only,) = findings(facts())
    assert (only["level"], only["text"]) == ("ok", "All 2 upstreams serve: 20 requests/s.")


def test_an_upstream_that_is_out_is_named_with_why_and_what_to_do() -> None:
    found = pool(upstreams=upstreams(upstream_shape(), OUT, upstream_shape()))
    assert found == {
        "level": "watch",
        "text": "app2 of pool web is out: connection refused. The other 2 upstreams serve.",
        "todo": "See whether it runs.",
        "pool": "web",
        "upstream": "app2",
        "route": None,
        "since": TIME,
    }


OVERLOAD = {"since": TIME, "served": 402.0, "refused": 798.4, "left": 2.0}


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        pytest.param(
            {"upstreams": upstreams(OUT, OUT)},
            "bad",
            "cannot serve: none of its 2 upstreams",
            id="none eligible",
        ),
        pytest.param({"upstreams": {}}, "bad", "Pool web has no upstreams", id="empty"),
        pytest.param({"upstreams": upstreams(OUT, OUT), "panic": True}, "bad", "is in panic", id="panic"),
        pytest.param(
            {"upstreams": upstreams(OUT, OUT, upstream_shape())},
            "bad",
            "1 of 3 upstreams may serve",
            id="under half",
        ),
        pytest.param({"on_backup": True}, "bad", "is served by its backup upstreams", id="backup"),
        pytest.param(
            {"overload": OVERLOAD},
            "bad",
            "serves 402/s and refuses 798/s, and 2.0/s were left",
            id="overload",
        ),
        pytest.param(
            {"overload": {**OVERLOAD, "refused": 0.0, "left": 0.0}, "queue": 131},
            "bad",
            "is overloaded: it serves 402/s; 131 wait for a slot.",
            id="overload without refusals",
        ),
        pytest.param({"queue": 7}, "watch", "7 requests of pool web wait for a slot", id="queue"),
        pytest.param(
            {"problems": {"dns://app:80": "no such name"}},
            "watch",
            "dns://app:80 of pool web cannot be looked up: no such name",
            id="name",
        ),
        pytest.param(
            {"upstreams": upstreams(upstream_shape(state="maintenance", eligible=False), upstream_shape())},
            "watch",
            "app1 of pool web is in maintenance. One other serves.",
            id="maintenance",
        ),
        pytest.param(
            {"upstreams": upstreams(upstream_shape(state="probation"))},
            "watch",
            "app1 of pool web is on probation. It is the only one.",
            id="probation",
        ),
    ],
)
def test_findings_of_a_pool(changed: dict[str, Any], level: str, text: str) -> None:
    found = pool(**changed)
    assert found["level"] == level
    assert text in found["text"]


UNRESOLVED = upstream_shape(
    state="unresolved",
    eligible=False,
    why="its name has no address",
    todo="See that it has.",
    whose="network",
)
ODD = upstream_shape(
    why="its p95 is 840 ms, that of most others 21 ms", todo="Compare its log.", whose="upstream"
)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        pytest.param(UNRESOLVED, "app2 of pool web is out: its name has no address.", id="no address"),
        pytest.param(ODD, "app2 of pool web stands out: its p95 is 840 ms, that of most", id="slow"),
    ],
)
def test_an_upstream_that_is_ill_is_named_with_what_to_do(one: UpstreamShape, text: str) -> None:
    found = pool(upstreams=upstreams(upstream_shape(), one, upstream_shape()))
    assert (found["level"], found["upstream"], found["todo"]) == ("watch", "app2", one["todo"])
    assert text in found["text"]


def test_a_weight_of_0_is_no_finding() -> None:
    rests = upstream_shape(why="its weight is 0", weight=0)
    assert pool(upstreams=upstreams(upstream_shape(), rests))["level"] == "ok"


def test_a_pool_that_has_lost_more_than_half_names_who_is_out() -> None:
    found = pool(upstreams=upstreams(OUT, UNRESOLVED, *[OUT] * 3, upstream_shape()))
    assert found["text"] == (
        "Pool web has lost more than half: 1 of 6 upstreams may serve. app1 is out (connection refused), "
        f"app2 is out (its name has no address), app3 is out (connection refused), {5 - FEW} more."
    )


def test_the_worst_comes_first() -> None:
    pools = {
        "drained": pool_shape(upstreams(upstream_shape(state="draining", eligible=False), upstream_shape())),
        "ill": pool_shape(upstreams(OUT, upstream_shape(), upstream_shape())),
        "over": pool_shape(overload=OVERLOAD),
        "dead": pool_shape(upstreams(OUT)),
    }
    assert [found["pool"] for found in findings(facts(pools=pools))] == [
        "dead",
        "over",
        "ill",
        "dead",
        "drained",
    ]


def test_of_many_upstreams_only_some_are_named() -> None:
    many = upstreams(*[OUT] * 40, *[upstream_shape()] * 60)
    found = findings(facts(pools={"web": pool_shape(many)}))
    assert [one["upstream"] for one in found] == [*(f"app{number}" for number in range(1, NAMED + 1)), None]
    assert found[-1]["text"] == "35 more of pool web: ejected."


def test_a_common_remedy_is_that_of_the_pool() -> None:
    assert pool(upstreams=upstreams(OUT, OUT))["todo"] == "See whether it runs."


def route(pools: dict[str, PoolShape] | None = None, **changed: Any) -> FindingShape:
    tree = overview_shape()
    routes: dict[str, Any] = {"web": {**tree["routes"]["default"], **changed}}
    return first(routes=routes, pools=pools or tree["pools"])


def test_a_promise_that_is_not_kept() -> None:
    slo = {
        "latency": 100.0, "percentile": 95.0, "errors": 0.01, "window": 600.0,
        "slow_share": 0.12, "failed_share": 0.002, "met": False, "n": 4000,
    }  # fmt: skip
    side = {**overview_shape()["routes"]["default"]["sides"]["default"], "slo": slo}
    found = route(sides={"default": side})
    assert (found["level"], found["route"]) == ("bad", "web")
    assert found["text"] == (
        "Route web does not keep its promise: 12.0% of 4,000 responses began later than 100 ms (5.0% may)."
    )


@pytest.mark.parametrize(
    ("ill", "words"),
    [
        pytest.param(OUT, "app2 is out (connection refused).", id="out"),
        pytest.param(
            ODD, "app2 stands out (its p95 is 840 ms, that of most others 21 ms).", id="unlike the others"
        ),
    ],
)
def test_the_only_upstream_that_is_ill_is_the_first_suspect(ill: UpstreamShape, words: str) -> None:
    pools = {"default": pool_shape(upstreams(upstream_shape(), ill))}
    found = route(pools, rates=rates_shape(20.0, 0.3))
    assert found["text"] == f"Route web fails: 30% of its 200 requests of the last 10 s. {words}"
    assert (found["pool"], found["upstream"], found["since"]) == ("default", "app2", TIME)
    assert found["todo"] == ill["todo"]


@pytest.mark.parametrize(
    "out",
    [
        pytest.param(UNRESOLVED, id="it has no address"),
        pytest.param(upstream_shape(**{**OUT, "since": "1994-11-06T07:00:00.000Z"}), id="out for long"),
    ],
)
def test_one_that_gets_no_requests_is_no_suspect(out: UpstreamShape) -> None:
    pools = {"default": pool_shape(upstreams(upstream_shape(), out))}
    found = route(pools, rates=rates_shape(20.0, 0.3))
    assert found["text"] == "Route web fails: 30% of its 200 requests of the last 10 s."
    assert found["upstream"] is None


def test_of_two_that_are_ill_none_is_the_suspect() -> None:
    pools = {"default": pool_shape(upstreams(upstream_shape(), upstream_shape(), OUT, ODD))}
    found = route(pools, rates=rates_shape(20.0, 0.3))
    assert (found["pool"], found["upstream"]) == ("default", None)
    assert "app3 is out" in found["text"]
    assert "app4 stands out" in found["text"]


def test_errors_of_a_route() -> None:
    assert "Route web fails: 30% of its 200 requests" in route(rates=rates_shape(20.0, 0.3))["text"]
    assert route(rates=rates_shape(1.0, 0.3))["level"] == "ok", "10 requests are too few to tell"


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        pytest.param({"state": "starting"}, "bad", "Worker 0 of the balancer is starting", id="not ready"),
        pytest.param(
            {"cpu": 0.99}, "watch", "uses 99% of a core: this is the balancer, not the app", id="busy"
        ),
        pytest.param({"lag": 900.0}, "watch", "was 900 ms late", id="late"),
    ],
)
def test_findings_of_the_balancer_itself(changed: dict[str, Any], level: str, text: str) -> None:
    worker: Any = {**overview_shape()["workers"]["0"], **changed}
    found = first(workers={"0": worker})
    assert found["level"] == level
    assert text in found["text"]


def test_without_a_ready_worker_nothing_is_worse() -> None:
    tree = overview_shape()
    away: Any = {**tree["workers"]["0"], "state": "starting"}
    only = first(workers={"0": away})
    assert only["text"] == "Worker 0 of the balancer is starting: no request is served until it is ready."
    others = {"0": away, "1": tree["workers"]["0"]}
    assert "the others serve for it" in first(workers=others)["text"]


def certificate(not_after: str, problem: str = "", acme: AcmeView | None = None) -> FindingShape:
    one = CertificateView("/run/site.pem", ["shop.example"], "R10", not_after, problem, acme)
    return first(certificates=[one])


def test_findings_of_certificates() -> None:
    assert certificate("1994-12-06T08:49:37.000Z")["level"] == "ok"
    assert "expires in 2.0 days" in certificate("1994-11-08T08:49:37.000Z")["text"]
    assert certificate("1994-11-05T08:49:37.000Z")["level"] == "bad"
    assert "are not used: no key" in certificate("1994-12-06T08:49:37.000Z", "no key")["text"]
    renewed = AcmeView("issued", "1994-11-07T08:49:37.000Z", 0, "")
    assert certificate("1994-11-08T08:49:37.000Z", acme=renewed)["level"] == "ok", "it is short-lived"
    failed = AcmeView("failed", "1994-11-07T08:49:37.000Z", 3, "rate limited")
    assert "rate limited" in certificate("1994-11-08T08:49:37.000Z", acme=failed)["text"]


def test_a_reload_that_was_not_taken_up() -> None:
    assert "The last reload was not taken up" in first(reload_failed=True)["text"]
