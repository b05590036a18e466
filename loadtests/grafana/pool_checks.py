"""What the balancer did about a pool: checks, ejections, retries, waits, pins."""

from loadtests.grafana.model import Query, Row
from loadtests.grafana.panels import lines
from loadtests.grafana.queries import (
    POOL,
    UPSTREAM,
    highest,
    increase,
    occurring,
    or_zero,
    quantile,
    rate,
    share,
)

_POOLS = highest("balancer_pool_eligible_upstreams", POOL, "pool")

CHECKS = Row(
    "Checks, ejections, retries",
    [
        lines(
            "Checks that did not pass",
            "Active checks per second with each result. Only results that occur are shown.",
            "cps",
            Query(
                occurring(
                    rate("balancer_active_checks_total", f'{UPSTREAM}, result!="passed"', "upstream, result"),
                    "upstream",
                ),
                "{{upstream}} {{result}}",
            ),
            width=8,
        ),
        lines(
            "Duration of checks",
            "95 % of the active checks are faster, failed ones included. No line: they are off.",
            "s",
            Query(quantile(0.95, "balancer_active_check_duration_seconds", POOL), "p95"),
            width=8,
            empty="no checks",
        ),
        lines(
            "Changes of state",
            "Upstreams ejected, readmitted, drained and so on, within each point of the graph, by cause.",
            "none",
            Query(
                occurring(increase("balancer_upstream_state_changes_total", UPSTREAM, "to, cause"), "to"),
                "{{to}} {{cause}}",
            ),
            width=8,
        ),
        lines(
            "Retries",
            "Requests per second that were sent again, by reason; `budget`: retries not made, because "
            "there were too many.",
            "reqps",
            Query(occurring(rate("balancer_retries_total", POOL, "reason"), "reason"), "{{reason}}"),
            Query(
                or_zero(rate("balancer_retry_budget_exhausted_total", POOL, "pool"), "pool", _POOLS), "budget"
            ),
            width=8,
        ),
        lines(
            "Ejections not made",
            "Outliers that stayed in, within each point of the graph: too many were out, it was the last "
            "one, or the whole pool failed alike.",
            "none",
            Query(increase("balancer_ejections_skipped_total", POOL, "reason"), "{{reason}}"),
            width=8,
        ),
        lines(
            "Waits for a slot",
            "Half and 99 % of the requests that had to wait got a slot faster. No line: none had to wait.",
            "s",
            *(
                Query(quantile(q, "balancer_queue_wait_seconds", POOL), f"p{round(100 * q)}")
                for q in (0.5, 0.99)
            ),
            width=8,
        ),
        lines(
            "Refused for want of a slot",
            "Requests per second that got 503, by reason, and those whose client left while waiting.",
            "reqps",
            Query(rate("balancer_queue_rejected_total", POOL, "reason"), "{{reason}}"),
            Query(rate("balancer_queue_abandoned_total", POOL), "client left"),
            width=8,
        ),
        lines(
            "Sticky sessions",
            "Requests per second by what became of their pin; `repinned`: their upstream was gone, "
            "`overflow`: it was full. 0 while sticky sessions are off.",
            "reqps",
            Query(
                or_zero(rate("balancer_sticky_requests_total", POOL, "pool, result"), "pool", _POOLS),
                "{{result}}",
            ),
            width=8,
        ),
        lines(
            "Pinned where the policy would not",
            "Share of the pinned requests that the policy would have sent to another upstream: what sticky "
            "sessions cost in balance.",
            "percentunit",
            Query(
                or_zero(
                    share(
                        rate("balancer_sticky_diverted_total", POOL, "pool"),
                        rate("balancer_sticky_requests_total", f'{POOL}, result="hit"', "pool"),
                    ),
                    "pool",
                    _POOLS,
                ),
                "{{pool}}",
            ),
            width=8,
        ),
    ],
)
