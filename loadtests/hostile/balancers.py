"""The balancers under attack: default settings, the same limit of client connections, one worker each.

More connections than one process's open-file limit take more workers of ours, and more attackers.
"""

import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.hostile.attacks import Attack, Target
from loadtests.proxies import Launch

HERE = Path(__file__).parent
SLOTS = 4_000  # each balancer's limit of client connections, unless an attack sets one
_SPARE_FILES = 1_000  # files of a process that are not clients


def _ours(attack: Attack, _directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    slots = slots_for(attack)
    return proxies.balancer(
        port,
        spare,
        upstreams,
        LIMITS__MAX_CONNECTIONS=str(slots),
        LIMITS__MAX_INFLIGHT=str(attack.places),
        HEALTH_CHECK__PATH=attack.checks,
        TRUSTED_PROXIES="127.0.0.0/8",
        LIMITS__HEADER_BYTES="64k",
        WORKERS=str(-(-slots // (connections_of_a_process() // 2))),
    )


def _nginx(attack: Attack, directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    servers = "\n        ".join(f"server {one};" for one in upstreams)
    # It counts connections to upstreams too.
    values = {"port": str(port), "servers": servers, "connections": str(slots_for(attack) + 200)}
    return proxies.nginx(HERE / "nginx.conf.template", directory, **values)


def _haproxy(attack: Attack, directory: Path, port: int, _spare: int, upstreams: Sequence[str]) -> Launch:
    places = f" maxconn {attack.places}" if attack.places else ""
    servers = "\n    ".join(
        f"server app{number} {one} check{places}" for number, one in enumerate(upstreams, 1)
    )
    values = {"port": str(port), "servers": servers, "connections": str(slots_for(attack))}
    return proxies.haproxy(HERE / "haproxy.cfg.template", directory, **values)


_PREPARE = {OURS: _ours, "nginx": _nginx, "haproxy": _haproxy}
_PACKAGES = {OURS: ("", ""), "nginx": ("nginx", "nginx-light"), "haproxy": ("haproxy", "haproxy")}
BALANCERS = tuple(_PREPARE)


def balancer(name: str, attack: Attack) -> Balancer:
    """The balancer of that name with the settings for an attack."""
    return Balancer(name, *_PACKAGES[name], partial(_PREPARE[name], attack))


def slots_for(attack: Attack) -> int:
    """A balancer's limit of client connections: the attack's `slots`, or some more than the attack has, as
    the kernel distributes them to workers at random."""
    return attack.slots or max(SLOTS, attack.connections * 9 // 8)


def connections_of_a_process() -> int:
    """The number of sockets that one process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE_FILES


def suffers(name: str, attack: Attack) -> bool:
    """Whether this balancer has the attacked feature: Debian's nginx has no queue."""
    if name == OURS:
        return True
    one_process = attack.connections <= SLOTS
    attacked = attack.target is Target.CLIENTS and attack.checks == "/"
    return attacked and one_process and not (attack.places and name == "nginx")
