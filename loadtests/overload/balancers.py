"""The balancers under test, with default settings except `haproxy-tuned`, whose operator knows the
replicas."""

import os
import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.overload.stage import OverloadStage
from loadtests.proxies import Launch

HERE = Path(__file__).parent
WITHOUT_LIMIT = "without limit"  # ours; compared with it, delays caused by the limit show
LIMIT = 5.0  # seconds for /metrics
_EJECTIONS = re.compile(r"^balancer_ejections_total\{.*\} (\S+)$", re.MULTILINE)
_DOWN = re.compile(r"Server \S+ is DOWN")


def _ours(_directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.balancer(port, spare, upstreams)


def _without_limit(_directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.balancer(port, spare, upstreams, ADAPTIVE__ENABLED="false")


def _nginx(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n        ".join(f"server {one};" for one in upstreams)
    return proxies.nginx(HERE / "nginx.conf.template", directory, port=str(port), servers=servers)


def _haproxy(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.haproxy(HERE / "haproxy.cfg.template", directory, **_haproxy_values(port, upstreams))


def _tuned(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    template = HERE / "haproxy-tuned.cfg.template"
    return proxies.haproxy(template, directory, **_haproxy_values(port, upstreams))


def _haproxy_values(port: int, upstreams: Sequence[str]) -> Mapping[str, str]:
    servers = [f"server app{number} {one} check" for number, one in enumerate(upstreams, 1)]
    return {"port": str(port), "servers": "\n    ".join(servers)}


def _caddy(directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    settings = proxies.render(
        HERE / "caddyfile.template",
        directory,
        port=str(port),
        servers=" ".join(upstreams),
        directory=str(directory),
    )
    argv = ["caddy", "run", "--adapter", "caddyfile", "--config", str(settings)]
    return Launch(argv, os.environ | {"HOME": str(directory), "GOMAXPROCS": "1"})


BALANCERS: dict[str, Balancer] = {
    one.name: one
    for one in (
        Balancer(OURS, "", "", _ours),
        Balancer(WITHOUT_LIMIT, "", "", _without_limit),
        Balancer("nginx", "nginx", "nginx-light", _nginx),
        Balancer("haproxy", "haproxy", "haproxy", _haproxy),
        Balancer("haproxy-tuned", "haproxy", "haproxy", _tuned),
        Balancer("caddy", "caddy", "caddy", _caddy),
    )
}


def ejections(name: str, stage: OverloadStage) -> int | None:
    """The number of ejections; None if the balancer does not report it."""
    if name in (OURS, WITHOUT_LIMIT):
        with urllib.request.urlopen(f"http://127.0.0.1:{stage.spare}/metrics", timeout=LIMIT) as answer:
            return int(sum(float(value) for value in _EJECTIONS.findall(answer.read().decode())))
    if name.startswith("haproxy"):
        return len(_DOWN.findall(stage.log_of(name)))
    return None
