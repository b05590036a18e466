"""The balancers under test, each configured as by a competent operator of this app, with the same deadlines.

Common settings: least connections, idle connections kept, 1 s to connect, 2 s for a response, three attempts
for idempotent requests, also after 500, 502, 503 and 504. Active checks, if any, run every 2 s on /health.
"""

from collections.abc import Sequence
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.proxies import Launch

HERE = Path(__file__).parent
SETTINGS = {
    "HEALTH_CHECK__PATH": "/health",
    "RETRY__STATUSES": "500,502,503,504",
    "TIMEOUTS__FIRST_BYTE": "2s",
}


def _ours(_directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.balancer(port, spare, upstreams, **SETTINGS)


def _nginx(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n        ".join(f"server {one} max_fails=3 fail_timeout=2s;" for one in upstreams)
    return proxies.nginx(HERE / "nginx.conf.template", directory, port=str(port), servers=servers)


def _haproxy(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n    ".join(f"server app{number} {one}" for number, one in enumerate(upstreams, 1))
    return proxies.haproxy(HERE / "haproxy.cfg.template", directory, port=str(port), servers=servers)


BALANCERS: dict[str, Balancer] = {
    one.name: one
    for one in (
        Balancer(OURS, "", "", _ours),
        Balancer("nginx", "nginx", "nginx-light", _nginx),
        Balancer("haproxy", "haproxy", "haproxy", _haproxy),
    )
}
