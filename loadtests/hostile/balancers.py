"""The balancers under attack: as they come, one worker each, with the same number of client connections."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.hostile.attacks import Attack, Target
from loadtests.proxies import Launch

HERE = Path(__file__).parent
SLOTS = 4_000  # client connections that each balancer may have, where an attack does not say otherwise


def _ours(attack: Attack, _directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.balancer(
        port,
        spare,
        upstreams,
        LIMITS__MAX_CONNECTIONS=str(attack.slots or SLOTS),
        HEALTH_CHECK__PATH=attack.checks,
        TRUSTED_PROXIES="127.0.0.0/8",
        LIMITS__HEADER_BYTES="64k",
    )


def _nginx(attack: Attack, directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n        ".join(f"server {one};" for one in upstreams)
    # It counts those to upstreams too.
    values = {"port": str(port), "servers": servers, "connections": str((attack.slots or SLOTS) + 200)}
    return proxies.nginx(HERE / "nginx.conf.template", directory, **values)


def _haproxy(attack: Attack, directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n    ".join(f"server app{number} {one} check" for number, one in enumerate(upstreams, 1))
    values = {"port": str(port), "servers": servers, "connections": str(attack.slots or SLOTS)}
    return proxies.haproxy(HERE / "haproxy.cfg.template", directory, **values)


_PREPARE = {OURS: _ours, "nginx": _nginx, "haproxy": _haproxy}
_PACKAGES = {OURS: ("", ""), "nginx": ("nginx", "nginx-light"), "haproxy": ("haproxy", "haproxy")}
BALANCERS = tuple(_PREPARE)


def balancer(name: str, attack: Attack) -> Balancer:
    """The balancer of that name as it is set for an attack."""
    return Balancer(name, *_PACKAGES[name], partial(_PREPARE[name], attack))


def suffers(name: str, attack: Attack) -> bool:
    """Whether this balancer has what is attacked."""
    return name == OURS or (attack.target is Target.CLIENTS and attack.checks == "/")
