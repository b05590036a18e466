"""The balancer itself: its workers, its clients' connections, its settings, certificates and discovery."""

from loadtests.grafana.model import BLUE, GREEN, RED, YELLOW, Dashboard, Query, Row
from loadtests.grafana.panels import bars, lines, number
from loadtests.grafana.queries import (
    INSTANCE,
    WORKER,
    highest,
    increase,
    occurring,
    rate,
    total,
)
from loadtests.grafana.variables import COMMON

_BY = "instance, worker"
_NAME = "{{instance}} worker {{worker}}"
_READ_AT = highest("balancer_config_last_reload_success_timestamp_seconds", INSTANCE, "instance")

_NOW = Row(
    "Now",
    [
        number(
            "Workers ready",
            "Workers that serve, over the selected instances.",
            "none",
            Query(total("balancer_worker_up", WORKER), "ready"),
            first=RED,
            steps=[(1, GREEN)],
        ),
        number(
            "Workers down",
            "Slots whose worker is not ready: it is being replaced, or cannot start.",
            "none",
            Query(f"count(balancer_worker_up{{{WORKER}}} == 0) or vector(0)", "down"),
            steps=[(1, RED)],
        ),
        number(
            "Busiest worker",
            "CPU of the busiest worker as a share of one core. Near 100 % it delays requests: set "
            "BALANCER_WORKERS to more, or run another instance.",
            "percentunit",
            Query(f"max(rate(balancer_worker_cpu_seconds_total{{{WORKER}}}[$__rate_interval]))", "CPU"),
            steps=[(0.7, YELLOW), (0.9, RED)],
            decimals=0,
        ),
        number(
            "Last reload",
            "Whether the settings of the last reload are in force, at each instance. `balancer events` "
            "says what was wrong.",
            "none",
            Query(f"min(balancer_config_last_reload_success{{{INSTANCE}}})", "reload"),
            values={0: ("refused", RED), 1: ("good", GREEN)},
            first=RED,
            steps=[(1, GREEN)],
        ),
        number(
            "Next certificate ends in",
            "Time until the first certificate is no longer valid.",
            "s",
            Query(f"min(balancer_tls_certificate_not_after_seconds{{{INSTANCE}}}) - time()", "left"),
            first=RED,
            steps=[(7 * 86400, YELLOW), (21 * 86400, GREEN)],
            empty="no TLS",
        ),
        number(
            "Log lines dropped",
            "Access-log lines per second that were dropped because the reader of stdout is too slow.",
            "cps",
            Query(rate("balancer_log_dropped_total", INSTANCE), "dropped"),
            steps=[(0.001, YELLOW)],
        ),
    ],
)

_WORKERS = Row(
    "Workers",
    [
        lines(
            "CPU",
            "Share of one core that each worker uses. One that is far above the others has long-lived "
            "connections.",
            "percentunit",
            Query(rate("balancer_worker_cpu_seconds_total", WORKER, _BY), _NAME),
        ),
        lines(
            "Loop lag",
            "How late the last sweep of each worker ran. Tens of milliseconds that stay are added to every "
            "request.",
            "s",
            Query(highest("balancer_event_loop_lag_seconds", WORKER, _BY), _NAME),
        ),
        lines(
            "Memory",
            "Resident memory of each worker.",
            "bytes",
            Query(highest("balancer_worker_resident_memory_bytes", WORKER, _BY), _NAME),
            width=8,
        ),
        lines(
            "File descriptors",
            "Open file descriptors of each worker: two for each proxied request, one for each idle "
            "connection.",
            "none",
            Query(highest("balancer_worker_open_fds", WORKER, _BY), _NAME),
            width=8,
        ),
        lines(
            "Restarts",
            "Workers that ended and were replaced, within each point of the graph; those of a reload do "
            "not count. Each one cut its connections.",
            "none",
            Query(increase("balancer_worker_restarts_total", WORKER, _BY), _NAME),
            width=8,
        ),
    ],
)

_CLIENTS = Row(
    "Connections of clients",
    [
        lines(
            "Open",
            "Client connections that are open now, by listener. At LIMITS__MAX_CONNECTIONS idle ones are "
            "closed for new ones.",
            "none",
            Query(
                total("balancer_client_connections", INSTANCE, "instance, listener"),
                "{{instance}} {{listener}}",
            ),
            width=8,
        ),
        lines(
            "Accepted and reclaimed",
            "Client connections accepted per second, and those closed to make room for new ones.",
            "cps",
            Query(rate("balancer_client_connections_total", INSTANCE), "accepted"),
            Query(rate("balancer_client_connections_reclaimed_total", INSTANCE), "reclaimed"),
            width=8,
        ),
        lines(
            "TLS handshakes",
            "Handshakes per second by how they ended; docs/metrics.md explains the results. 0 without TLS.",
            "cps",
            Query(
                occurring(rate("balancer_tls_handshakes_total", INSTANCE, "result"), "result"), "{{result}}"
            ),
            width=8,
        ),
    ],
)

_RECORDS = Row(
    "Records of requests",
    [
        lines(
            "Access-log lines dropped",
            "Lines per second that were dropped because the reader of stdout is too slow. Requests never "
            "wait for it.",
            "cps",
            Query(rate("balancer_log_dropped_total", INSTANCE, "instance"), "{{instance}}"),
        ),
        lines(
            "Spans of traces",
            "Spans per second by what became of them; `dropped` and `failed` are missing in the traces. 0 "
            "without traces.",
            "cps",
            Query(occurring(rate("balancer_trace_spans_total", INSTANCE, "result"), "result"), "{{result}}"),
        ),
    ],
)

_SETTINGS = Row(
    "Settings and certificates",
    [
        lines(
            "Reloads",
            "Reloads within each point of the graph, by result.",
            "none",
            Query(increase("balancer_config_reloads_total", INSTANCE, "result"), "{{result}}"),
            width=8,
        ),
        lines(
            "Age of the settings",
            "Time since the settings in force were read. Instances that differ may run different settings.",
            "s",
            Query(f"time() - {_READ_AT}", "{{instance}}"),
            width=8,
        ),
        bars(
            "Version",
            "Instances by version and build. `plain` runs the request path uncompiled, which costs CPU.",
            "none",
            Query(f"count by (version, build) (balancer_build_info{{{INSTANCE}}})", "{{version}} {{build}}"),
            first=BLUE,
            width=8,
        ),
        bars(
            "Certificates end in",
            "Time until each certificate is no longer valid, at the instance with the oldest one.",
            "s",
            Query(
                f"min by (name) (balancer_tls_certificate_not_after_seconds{{{INSTANCE}}}) - time()",
                "{{name}}",
            ),
            first=RED,
            steps=[(7 * 86400, YELLOW), (21 * 86400, GREEN)],
            empty="no TLS",
            least=0,
        ),
        lines(
            "Certificates renewed",
            "Changed files taken up or refused, and orders of automatic certificates, within each point of "
            "the graph.",
            "none",
            Query(
                occurring(
                    increase("balancer_tls_certificate_reloads_total", INSTANCE, "name, result"), "result"
                ),
                "{{name}} {{result}}",
            ),
            Query(
                occurring(increase("balancer_acme_renewals_total", INSTANCE, "domain, result"), "result"),
                "ACME {{domain}} {{result}}",
            ),
        ),
    ],
)

_DISCOVERY = Row(
    "Discovery",
    [
        lines(
            "Age of the last good answer",
            "Time since a source of upstreams last answered, while its lookups fail: the upstreams of that "
            "answer are used. 0: none fails.",
            "s",
            Query(
                occurring(highest("balancer_discovery_stale_seconds", INSTANCE, "pool, source"), "source"),
                "{{pool}} {{source}}",
            ),
        ),
        lines(
            "Failed lookups",
            "Lookups per second that failed, by pool and source.",
            "cps",
            Query(
                occurring(
                    rate("balancer_discovery_lookups_total", f'{INSTANCE}, result="failed"', "pool, source"),
                    "source",
                ),
                "{{pool}} {{source}}",
            ),
        ),
    ],
)

ITSELF = Dashboard(
    "balancer-itself",
    "Balancer: itself",
    "Workers, connections, settings, certificates and discovery of the balancers.",
    COMMON,
    [_NOW, _WORKERS, _CLIENTS, _RECORDS, _SETTINGS, _DISCOVERY],
)
