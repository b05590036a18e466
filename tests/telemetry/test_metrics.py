"""The metrics: every count and state is exposed under its public name."""

import pytest

from balancer.edges import STANDARD
from balancer.errors import FAILURES, HEAD_TIMEOUT
from balancer.health.result import Result
from balancer.telemetry import columns as c
from balancer.telemetry import fleet_metrics
from balancer.telemetry.columns import Kind
from balancer.upstreams.state import AdminState, Cause
from tests.telemetry.harness import Harness

AT_WEB = "pool=apps,route=web"
WEB = c.METHOD_COLUMN[b"POST"] + c.CODE_COLUMN[201]
APP1 = "pool=apps,upstream=app1:8000"


@pytest.mark.parametrize(
    ("kind", "column", "value", "series", "shown"),
    [
        (Kind.ROUTE, WEB, 4, f"requests_total{{code=201,method=POST,{AT_WEB}}}", 4),
        (Kind.ROUTE, c.METHOD_OTHER + c.CODE_COLUMN[299], 1,
         f"requests_total{{code=other,method=other,{AT_WEB}}}", 1),
        (Kind.ROUTE, c.ROUTE_DURATION + 2, 2, f"request_duration_seconds_bucket{{le=0.0025,{AT_WEB}}}", 2),
        (Kind.ROUTE, c.ROUTE_DURATION, 2, f"request_duration_seconds_bucket{{le=+Inf,{AT_WEB}}}", 2),
        (Kind.ROUTE, c.ROUTE_DURATION_SUM, 1_500_000_000, f"request_duration_seconds_sum{{{AT_WEB}}}", 1.5),
        (Kind.ROUTE, c.ROUTE_INFLIGHT, 5, f"requests_inflight{{{AT_WEB}}}", 5),
        (Kind.ROUTE, c.ROUTE_REQUEST_BYTES, 6, f"request_bytes_total{{{AT_WEB}}}", 6),
        (Kind.ROUTE, c.ROUTE_RESPONSE_BYTES, 7, f"response_bytes_total{{{AT_WEB}}}", 7),
        (Kind.WORKER, c.WORKER_LOCAL_RESPONSES + FAILURES.index(HEAD_TIMEOUT), 8,
         "local_responses_total{code=408,reason=head_timeout}", 8),
        (Kind.WORKER, c.WORKER_LOOP_LAG_NS, 2_000_000, "event_loop_lag_seconds{worker=0}", 0.002),
        (Kind.WORKER, c.WORKER_LOG_DROPPED, 4, "log_dropped_total{}", 7),
        (Kind.UPSTREAM, c.CODE_COLUMN[503], 9, f"upstream_requests_total{{code=503,{APP1}}}", 9),
        (Kind.UPSTREAM, c.UPSTREAM_FIRST_BYTE, 3,
         "upstream_first_byte_seconds_count{pool=apps,upstream=app1:8000}", 3),
        (Kind.UPSTREAM, c.UPSTREAM_INFLIGHT, 1, f"upstream_inflight{{{APP1}}}", 1),
        (Kind.UPSTREAM, c.UPSTREAM_INFLIGHT_LIMIT, 20, f"upstream_inflight_limit{{{APP1}}}", 20),
        (Kind.UPSTREAM, c.UPSTREAM_LEFT, 6, f"upstream_abandoned_total{{{APP1}}}", 6),
        (Kind.UPSTREAM, c.UPSTREAM_IDLE, 2, f"upstream_idle_connections{{{APP1}}}", 2),
        (Kind.UPSTREAM, c.UPSTREAM_CONNECTS, 3, f"upstream_connects_total{{{APP1}}}", 3),
        (Kind.UPSTREAM, c.UPSTREAM_REUSES, 4, f"upstream_connection_reuses_total{{{APP1}}}", 4),
        (Kind.UPSTREAM, c.UPSTREAM_CLOSES + 2, 5,
         "upstream_connection_closes_total{pool=apps,reason=idle_timeout,upstream=app1:8000}", 5),
        (Kind.POOL, c.POOL_RETRIES, 6, "retries_total{pool=apps,reason=connect_failed}", 6),
        (Kind.POOL, c.POOL_TUNNELS, 7, "tunnels{pool=apps}", 7),
        (Kind.POOL, c.POOL_STICKY + 2, 5, "sticky_requests_total{pool=apps,result=repinned}", 5),
        (Kind.POOL, c.POOL_STICKY_DIVERTED, 32, "sticky_diverted_total{pool=apps}", 32),
        (Kind.POOL, c.POOL_QUEUE_LENGTH, 8, "queue_length{pool=apps}", 8),
        (Kind.POOL, c.POOL_QUEUE_WAIT + 4, 9, "queue_wait_seconds_bucket{le=0.01,pool=apps}", 9),
        (Kind.POOL, c.POOL_QUEUE_WAIT_SUM, 500_000_000, "queue_wait_seconds_sum{pool=apps}", 0.5),
        (Kind.POOL, c.POOL_QUEUE_REJECTED, 2, "queue_rejected_total{pool=apps,reason=full}", 2),
        (Kind.POOL, c.POOL_QUEUE_REJECTED + 1, 3, "queue_rejected_total{pool=apps,reason=timeout}", 3),
        (Kind.POOL, c.POOL_QUEUE_ABANDONED, 4, "queue_abandoned_total{pool=apps}", 4),
        (Kind.LISTENER, c.LISTENER_CONNECTIONS, 8, "client_connections{listener=0.0.0.0:8080}", 8),
        (Kind.LISTENER, c.LISTENER_CONNECTIONS_TOTAL, 9,
         "client_connections_total{listener=0.0.0.0:8080}", 9),
        (Kind.LISTENER, c.LISTENER_CONNECTIONS_RECLAIMED, 10,
         "client_connections_reclaimed_total{listener=0.0.0.0:8080}", 10),
        (Kind.TLS_LISTENER, c.LISTENER_CONNECTIONS, 8, "client_connections{listener=0.0.0.0:8443}", 8),
        (Kind.TLS_LISTENER, c.LISTENER_TLS_HANDSHAKES, 11,
         "tls_handshakes_total{listener=0.0.0.0:8443,result=ok}", 11),
        (Kind.TLS_LISTENER, c.LISTENER_TLS_HANDSHAKES + 7, 12,
         "tls_handshakes_total{listener=0.0.0.0:8443,result=dropped}", 12),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_each_cell_has_its_series(
    harness: Harness, kind: Kind, column: int, value: int, series: str, shown: float
) -> None:
    harness.count(kind, column, value)
    assert harness.scrape()[f"balancer_{series}"] == shown


@pytest.mark.parametrize(
    ("series", "shown"),
    [
        ("worker_up{worker=0}", 1),
        ("worker_restarts_total{worker=0}", 2),
        ("worker_cpu_seconds_total{worker=0}", 1.5),
        ("worker_resident_memory_bytes{worker=0}", 4096),
        ("worker_open_fds{worker=0}", 7),
        ("build_info{build=plain,version=1.2.3}", 1),
    ],
)
def test_each_worker_process_has_its_series(harness: Harness, series: str, shown: float) -> None:
    assert harness.scrape()[f"balancer_{series}"] == shown


SOURCE = "pool=apps,source=dns://app:8000"


@pytest.mark.parametrize(
    ("series", "shown"),
    [
        (f"discovery_stale_seconds{{{SOURCE}}}", 12.5),
        (f"discovery_lookups_total{{{SOURCE.replace(',', ',result=ok,')}}}", 3),
        (f"discovery_lookups_total{{{SOURCE.replace(',', ',result=failed,')}}}", 2),
        ("tls_certificate_not_before_seconds{name=/run/site.pem}", 776335777),
        ("tls_certificate_not_after_seconds{name=/run/site.pem}", 784111777),
    ],
)
def test_each_source_and_certificate_has_its_series(harness: Harness, series: str, shown: float) -> None:
    assert harness.scrape()[f"balancer_{series}"] == shown


CODE_SERIES = f"upstream_requests_total{{code=%s,{APP1}}}"


@pytest.mark.parametrize(
    "series",
    [
        *(CODE_SERIES % code for code in ("200", "500", "502", "503", "504")),
        f"requests_total{{code=500,method=GET,{AT_WEB}}}",
        f"requests_total{{code=200,method=POST,{AT_WEB}}}",
        "local_responses_total{code=503,reason=no_upstream}",
        "local_responses_total{code=502,reason=connect_refused}",
        "retries_total{pool=apps,reason=connect_race}",
        *(
            f"upstream_connect_failures_total{{{APP1.replace(',', f',reason={reason},')}}}"
            for reason in ("refused", "timeout", "unreachable")
        ),
        "upstream_state_changes_total{cause=active_check,pool=apps,to=ejected,upstream=app2:8000}",
        "upstream_state_changes_total{cause=active_check,pool=apps,to=readmitted,upstream=app2:8000}",
        "upstream_state_changes_total{cause=announced,pool=apps,to=draining,upstream=app2:8000}",
        "active_checks_total{pool=apps,result=passed,upstream=app2:8000}",
        "active_checks_total{pool=apps,result=status,upstream=app2:8000}",
        "active_checks_total{pool=apps,result=timeout,upstream=app2:8000}",
        "upstream_state{pool=apps,state=ejected,upstream=app2:8000}",
        "upstream_up{pool=apps,upstream=app2:8000}",
    ],
)
def test_series_needed_by_rate_and_alerts_exist_before_their_first_event(
    harness: Harness, series: str
) -> None:
    assert harness.scrape()[f"balancer_{series}"] == 0


def test_a_method_seen_by_a_route_has_the_codes_of_alerts(harness: Harness) -> None:
    series = f"balancer_requests_total{{code=500,method=DELETE,{AT_WEB}}}"
    assert series not in harness.scrape()
    harness.count(Kind.ROUTE, c.METHOD_COLUMN[b"DELETE"] + c.CODE_COLUMN[204], 1)
    assert harness.scrape()[series] == 0


@pytest.mark.parametrize("part", ["code=404", "code=other", "method=TRACE", "reason=idle_timeout,"])
def test_rare_series_exist_only_after_their_first_event(harness: Harness, part: str) -> None:
    assert not [series for series in harness.scrape() if part in series and "local_" not in series]


def test_without_active_checks_there_are_no_series_of_them(harness: Harness) -> None:
    assert not [s for s in harness.scrape() if "active_checks_total" in s and "app3:8000" in s]


def test_an_upstream_without_a_limit_has_no_series_of_it(harness: Harness) -> None:
    assert not [series for series in harness.scrape() if "inflight_limit" in series]


@pytest.mark.parametrize(
    ("series", "shown"),
    [
        ("upstream_state{pool=apps,state=active,upstream=app1:8000}", 0),
        ("upstream_state{pool=apps,state=draining,upstream=app1:8000}", 1),
        ("upstream_state{pool=apps,state=maintenance,upstream=app1:8000}", 0),
        ("upstream_state{pool=apps,state=ejected,upstream=app1:8000}", 1),
        ("upstream_state{pool=apps,state=unchecked,upstream=app1:8000}", 1),
        ("upstream_state{pool=apps,state=active,upstream=app2:8000}", 1),
        (f"upstream_up{{{APP1}}}", 1),
        (f"upstream_effective_weight{{{APP1}}}", 2.5),
        ("upstream_state_changes_total{cause=active_check,pool=apps,to=ejected,upstream=app1:8000}", 3),
        ("upstream_state_changes_total{cause=outlier,pool=apps,to=ejected,upstream=app1:8000}", 1),
        ("active_checks_total{pool=apps,result=passed,upstream=app1:8000}", 9),
        ("active_checks_total{pool=apps,result=late,upstream=app1:8000}", 1),
        ("active_check_duration_seconds_bucket{le=0.001,pool=apps}", 2),
        ("active_check_duration_seconds_count{pool=apps}", 3),
        ("active_check_duration_seconds_sum{pool=apps}", 0.25),
        ("slo_latency_seconds{pool=apps,route=web}", 0.3),
        ("slo_percentile_ratio{pool=apps,route=web}", 0.95),
        ("slo_errors_ratio{pool=apps,route=web}", 0.01),
        ("slo_window_seconds{pool=apps,route=web}", 2_592_000),
        ("slo_requests_total{pool=apps,route=web}", 1000),
        ("slo_slow_requests_total{pool=apps,route=web}", 12),
        ("slo_failed_requests_total{pool=apps,route=web}", 3),
        ("pool_eligible_upstreams{pool=apps}", 4),
        ("pool_panic{pool=apps}", 1),
        ("pool_overloaded{pool=apps}", 1),
        ("ejections_total{cause=active_check,pool=apps}", 3),
        ("ejections_total{cause=outlier,pool=apps}", 1),
    ],
)
def test_each_state_of_the_fleet_has_its_series(harness: Harness, series: str, shown: float) -> None:
    assert harness.scrape()[f"balancer_{series}"] == shown


def test_label_values_are_those_of_higher_layers() -> None:
    assert set(fleet_metrics.ADMIN_STATES) == {*AdminState}
    assert set(fleet_metrics.FIRST_RESULTS) <= {*Result}
    assert set(fleet_metrics.FIRST_EJECTIONS) <= {*Cause}
    assert {cause for _, cause in fleet_metrics.FIRST_CHANGES} <= {*Cause, "announced", "operator"}


def test_the_series_of_a_removed_upstream_disappear(harness: Harness) -> None:
    counted = {s for s in harness.scrape() if "upstream=app1:8000" in s and "upstream_inflight{" in s}
    assert counted
    harness.ledger.retire(Kind.UPSTREAM, "apps", "app1:8000")
    assert not counted & harness.scrape().keys()


def test_histogram_buckets_are_cumulative(harness: Harness) -> None:
    for column in range(STANDARD.width):
        harness.count(Kind.UPSTREAM, c.UPSTREAM_FIRST_BYTE + column, 1)
    shown = harness.scrape()
    counts = [value for series, value in shown.items() if "first_byte_seconds_bucket" in series]
    assert counts == [float(number) for number in range(1, STANDARD.width + 1)]
