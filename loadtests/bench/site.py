"""A site of 50 routes over 10 pools, in the words of each proxy: hosts with paths, and paths on any host."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench.setup import Place

POOLS = 10
HOSTS = 10
_ANYWHERE = 19  # paths on any host


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for `host`, "" for any, whose path is below `prefix`, go to the pool of that number."""

    host: str
    prefix: str
    pool: int


def _routes() -> tuple[Route, ...]:
    pairs = [
        *(
            (f"shop{host}.example.com", prefix)
            for host in range(HOSTS)
            for prefix in ("/api/", "/static/", "/")
        ),
        *(("", f"/service{number}/") for number in range(_ANYWHERE)),
        ("", "/"),
    ]
    return tuple(Route(host, prefix, number % POOLS) for number, (host, prefix) in enumerate(pairs))


# Those of a host before those of any, and the more specific before the less.
ROUTES = _routes()


def requests() -> list[tuple[str, str]]:
    """A host and a path for each route."""
    return [(one.host or "app.example.com", f"{one.prefix}item/17?page=2") for one in ROUTES]


def members(place: Place) -> list[list[str]]:
    """The upstreams of each pool."""
    addresses = [f"127.0.0.1:{port}" for port in place.upstreams]
    return [addresses[number::POOLS] for number in range(POOLS)]


def _of_hosts() -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for one in ROUTES:
        found.setdefault(one.host, []).append(one)
    return found


def nginx(listen: str, options: str) -> str:
    """The server blocks; `options` are of the socket that they share."""
    servers = []
    for host, routes in _of_hosts().items():
        locations = " ".join(
            f"location {one.prefix} {{ proxy_pass http://pool{one.pool}; }}" for one in routes
        )
        name = f"server_name {host};" if host else ""
        more = "" if host else f" default_server {options}"
        servers.append(f"server {{ listen {listen}{more}; {name} {locations} }}")
    return "\n    ".join(servers)


def haproxy(directory: Path) -> str:
    """How the frontend chooses; writes the maps by host with path, and by path."""
    hosts, paths = directory / "hosts.map", directory / "paths.map"
    hosts.write_text("".join(f"{one.host}{one.prefix} pool{one.pool}\n" for one in ROUTES if one.host))
    paths.write_text("".join(f"{one.prefix} pool{one.pool}\n" for one in ROUTES if not one.host))
    return (
        f"use_backend %[base,map_beg({hosts})] if {{ base,map_beg({hosts}) -m found }}\n"
        f"    use_backend %[path,map_beg({paths})]"
    )


def caddy(port: int, pools: Sequence[Sequence[str]]) -> str:
    """The site blocks."""
    blocks = []
    for host, routes in _of_hosts().items():
        handles = "\n".join(
            f"\thandle {one.prefix}* {{\n\t\treverse_proxy {' '.join(pools[one.pool])} {{\n"
            "\t\t\timport options\n\t\t}\n\t}"
            for one in routes
        )
        blocks.append(f"http://{host}:{port} {{\n\tbind 127.0.0.1\n{handles}\n}}")
    return "\n".join(blocks)


def ours(pools: Sequence[Sequence[str]]) -> dict[str, str]:
    """The settings, without BALANCER_."""
    own = {f"POOLS__POOL{number}__UPSTREAMS": ",".join(upstreams) for number, upstreams in enumerate(pools)}
    return own | {"ROUTES": ", ".join(f"{one.host}{one.prefix}=pool{one.pool}" for one in ROUTES)}
