"""The output of `balancer status` at any width."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from balancer.console.status import HEADINGS, fitting, state_of, status
from tests.console.answers import check, pools, upstream

UNTIL = "2026-02-01T12:00:10.000Z"
FAILED = check(passed=False, result="status", status=500, hint="500 on /: the app fails; look at its log")
EJECTED = upstream(
    "app2:8000",
    causes=["active_check"],
    eligible=False,
    last_check=FAILED,
    requests=25,
    codes={"200": 20, "500": 3, "503": 2},
    connect_failures={"refused": 1200},
)


def shown(answer: dict[str, Any], width: int = 80, colour: bool = False) -> list[str]:
    file = StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(status(answer, width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def cells(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return line.split()


def test_a_pool_has_a_heading_and_a_row_per_upstream() -> None:
    first = upstream("app1:8000", requests=1075, codes={"200": 1075}, inflight=12)
    lines = shown(pools(first, EJECTED))
    assert lines[0] == "pool default   policy least_connections   1 of 2 eligible"
    assert " ".join(lines[1].split()) == " ".join(HEADINGS)
    assert cells(lines, "app1:8000") == [
        "app1:8000",
        "active",
        "1",
        "12",
        "1,075",
        "0",
        "98%",
        "200,",
        "2",
        "ms",
    ]
    assert cells(lines, "app2:8000") == ["app2:8000", "ejected", "1", "0", "25", "5", "2%", "500,", "2", "ms"]


def test_an_upstream_that_speaks_tls_is_shown_as_it_is_written() -> None:
    lines = shown(pools(upstream("app1:8443", server_name="app.internal")))
    assert cells(lines, "https://app1:8443")[1] == "active"


def test_a_cap_is_shown_beside_inflight_and_waiting_requests_in_the_heading() -> None:
    capped = [
        upstream("app1:8000", inflight=20, inflight_limit=20),
        upstream("app2:8000", inflight=7, inflight_limit=12, max_inflight=20),
        upstream("app3:8000", inflight=7),
    ]
    lines = shown(pools(*capped, queue_length=1200))
    assert lines[0] == "pool default   policy least_connections   3 of 3 eligible   1,200 waiting"
    assert [cells(lines, f"app{number}:8000")[3] for number in (1, 2, 3)] == ["20/20", "7/12", "7"]


@pytest.mark.parametrize(
    ("left", "leaving"),
    [(0.0, ""), (0.3, ""), (12.4, ", 12/s abandoned by clients")],
    ids=["all wait", "next to none leaves", "some leave"],
)
def test_an_overloaded_pool_shows_since_when_and_the_outcomes(left: float, leaving: str) -> None:
    overload = {
        "since": "2026-02-01T12:00:07.120Z",
        "served_per_second": 401.6,
        "refused_per_second": 1798.3,
        "left_per_second": left,
    }
    lines = shown(pools(overload=overload, queue_rejected={"full": 12_000, "timeout": 345}), width=120)
    assert lines[0].endswith("   12,345 refused so far")
    assert lines[1] == f"overloaded since 12:00:07 UTC: 402/s served, 1,798/s refused{leaving}"


@pytest.mark.parametrize(
    ("other", "state"),
    [
        pytest.param({}, "active", id="active"),
        pytest.param({"unchecked": True}, "unchecked", id="unchecked"),
        pytest.param({"backup": True}, "backup", id="backup"),
        pytest.param({"backup": True, "causes": ["outlier"]}, "ejected", id="backup that is ejected"),
        pytest.param({"on_probation": True}, "probation", id="probation"),
        pytest.param({"on_probation": True, "causes": ["active_check"]}, "ejected", id="both"),
        pytest.param({"address": ""}, "unresolved", id="no address"),
        pytest.param({"causes": ["active_check"]}, "ejected", id="ejected"),
        pytest.param({"causes": ["outlier"], "unchecked": True}, "ejected", id="ejected and unchecked"),
        pytest.param({"admin_state": "draining", "causes": ["outlier"]}, "draining", id="draining"),
        pytest.param({"admin_state": "maintenance"}, "maintenance", id="maintenance"),
    ],
)
def test_the_state_shown_is_the_one_that_matters_most(other: dict[str, Any], state: str) -> None:
    one = upstream("app1:8000", **other)
    assert state_of(one) == state
    assert cells(shown(pools(one)), "app1:8000")[1] == state


@pytest.mark.parametrize(
    ("one", "note"),
    [
        pytest.param(
            EJECTED,
            "app2:8000: ejected by active check; last check: 500 on /: the app fails; look at its "
            "log; failed connections so far: 1,200 refused",
            id="ejected",
        ),
        pytest.param(
            upstream("app1:8000", last_check=None, requests=0, connect_failures={"tls": 2}),
            "app1:8000: failed connections so far: 2 tls",
            id="never connected, and never checked",
        ),
        pytest.param(
            upstream("app1:8000", causes=["outlier"], outlier={"until": UNTIL, "in_a_row": 1}),
            "app1:8000: ejected by outlier detection until 12:00:10 UTC; balancer events says why",
            id="outlier",
        ),
        pytest.param(
            upstream(
                "app1:8000", causes=["active_check", "outlier"], outlier={"until": UNTIL, "in_a_row": 2}
            ),
            "app1:8000: ejected by active check; ejected by outlier detection until 12:00:10 UTC "
            "(2nd in a row); balancer events says why",
            id="both",
        ),
        pytest.param(
            upstream("app1:8000", on_probation=True, outlier={"until": UNTIL, "in_a_row": 3}),
            "app1:8000: gets one request at a time until one succeeds (3rd in a row)",
            id="probation",
        ),
        pytest.param(
            upstream("app1:8000", last_check=FAILED),
            "app1:8000: last check: 500 on /: the app fails; look at its log",
            id="not ejected yet",
        ),
        pytest.param(
            upstream("app1:8000", address="", last_check=None),
            "app1:8000: its name does not resolve, or points to this balancer (see the log), so it "
            "gets no requests; correct it in BALANCER_UPSTREAMS, or start what it names",
            id="no address",
        ),
        pytest.param(
            upstream("app1:8000", admin_state="draining", announced=True),
            "app1:8000: draining, announced by its active check",
            id="announced",
        ),
    ],
)
def test_an_unhealthy_upstream_has_a_line_with_the_cause(one: dict[str, Any], note: str) -> None:
    assert note in shown(pools(one), width=160)


def test_healthy_upstreams_have_no_extra_lines() -> None:
    connected_since = upstream("app2:8000", requests=7, connect_failures={"tls": 2})
    assert not [line for line in shown(pools(upstream("app1:8000"), connected_since)) if ": " in line]


def test_an_unresolved_name_is_shown_with_a_remedy() -> None:
    lines = shown(pools(problems={"dns://app:8000": "Name or service not known"}), width=160)
    assert lines[1] == (
        "dns://app:8000: does not resolve: Name or service not known; "
        "correct it in BALANCER_UPSTREAMS, or start what it names"
    )


def test_a_pool_that_answers_503_says_so_in_the_heading() -> None:
    one = upstream("app1:8000", admin_state="maintenance", eligible=False)
    heading = shown(pools(one), width=160)[0]
    assert heading.endswith("0 of 1 eligible   OUT: no upstream may be used, so requests get 503")


NEW = {"unchecked": True, "eligible": False, "last_check": None}


def test_an_unchecked_upstream_is_shown_as_used_only_without_others() -> None:
    note = "app2:8000: not checked yet: it serves once it has passed a check"
    lines = shown(pools(upstream("app1:8000"), upstream("app2:8000", **NEW)), width=160)
    assert lines[0].endswith("1 of 2 eligible")
    assert note in lines
    lines = shown(pools(EJECTED, upstream("app2:8000", **NEW)), width=160)
    assert lines[0].endswith("   no upstream is eligible, so unchecked ones are used")
    assert note in lines


def test_at_the_start_an_unchecked_upstream_serves_without_a_note() -> None:
    lines = shown(pools(upstream("app1:8000", unchecked=True, last_check=None)), width=160)
    assert not any("not checked yet" in line for line in lines)


def test_panic_and_an_empty_pool_are_in_the_heading() -> None:
    heading = shown(pools(EJECTED, panic=True), width=160)[0]
    assert heading.endswith("0 of 1 eligible   PANIC: no upstream is eligible, so ejected ones are used")
    assert shown(pools())[0] == "pool default   policy least_connections   no upstreams"


@pytest.mark.parametrize(
    ("width", "name"),
    [
        (80, "app1:8000"),
        (80, "127.0.0.1:18001"),
        (120, "app-replica-1.shop.internal:8000"),
        (160, "[2001:db8:1111:2222:3333:4444:5555:6666]:8000"),
    ],
)
def test_a_row_fits_on_one_line(width: int, name: str) -> None:
    one = upstream(name, requests=1_234_567, codes={"500": 123}, address="", inflight=100)
    lines = shown(pools(one), width)
    assert max(map(len, lines)) <= width
    assert cells(lines, name)[-2:] == ["2", "ms"]


def test_a_name_that_is_too_long_is_folded_not_cut() -> None:
    name = "app-replica-1.shop.internal:8000"
    lines = shown(pools(upstream(name)), 80)
    assert max(map(len, lines)) <= 80
    first = next(index for index, line in enumerate(lines) if line.startswith("app-"))
    assert "".join(line.split()[0] for line in lines[first : first + 2]) == name


def test_without_requests_the_share_is_a_dash() -> None:
    assert cells(shown(pools(upstream("app1:8000", last_check=None))), "app1:8000")[-2:] == ["-", "-"]


def test_a_weight_during_slow_start_shows_both_values() -> None:
    one = upstream("app1:8000", weight=3, effective_weight=0.5)
    assert cells(shown(pools(one)), "app1:8000")[2] == "0.5/3"


def test_states_have_colours_on_a_terminal_only() -> None:
    assert any("\x1b[1;31mejected" in line for line in shown(pools(EJECTED), colour=True))
    assert not any("\x1b" in line for line in shown(pools(EJECTED)))


def fitted(answer: dict[str, Any], height: int) -> list[str]:
    console = Console(file=StringIO(), width=100)
    lines = console.render_lines(fitting(answer, console, height), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def test_rows_that_fit_are_all_shown_in_order() -> None:
    answer = pools(upstream("app1:8000"), EJECTED)
    whole = fitted(answer, 100)
    assert whole == shown(answer, 100)
    assert fitted(answer, len(whole)) == whole
    assert fitted(answer, len(whole) - 1) != whole


@pytest.mark.parametrize("height", [9, 20, 50])
def test_if_rows_do_not_fit_the_worst_are_shown_and_the_rest_is_counted(height: int) -> None:
    several = [upstream(f"app{number}:8000", requests=10) for number in range(10, 110)]
    errs = upstream("bad:8000", requests=10, codes={"500": 3})
    answer = pools(*several, errs, EJECTED)
    lines = fitted(answer, height)
    assert len(lines) <= height
    rows = [line for line in lines if ":8000 " in line]
    assert [row.split()[0] for row in rows[:2]] == ["app2:8000", "bad:8000"][: len(rows)]
    more = 102 - len(rows)
    assert f"... and {more} more (use --json or a taller terminal)" in lines
    assert cells(lines, "app2:8000")[6] == "2%"  # of all requests, not only of the rows shown
    assert any(line.startswith("app2:8000: ejected by active check") for line in lines)


def test_each_pool_shows_some_rows() -> None:
    one = pools(*[upstream(f"app{number}:8000") for number in range(10, 60)])
    (pool,) = one["pools"]
    both = {**one, "pools": [pool, {**pool, "name": "other"}]}
    lines = fitted(both, 30)
    assert sum("more (use" in line for line in lines) == 2
    assert len(lines) <= 30
