"""The proxies side by side, and how a case's setup becomes their settings."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests import builds, proxies
from loadtests.bench import site, tls
from loadtests.bench.setup import Place, Setup
from loadtests.builds import Build
from loadtests.errors import BenchError
from loadtests.proxies import HERE, Launch, render

Prepare = Callable[[Place, Setup, Mapping[str, str]], Launch]
NGINX_POLICIES = {
    "least_connections": "least_conn;",
    "round_robin": "",
    "random": "random;",
    "power_of_two": "random two least_conn;",
    "peak_ewma": "random two least_conn;",  # it has no policy by latency
    "consistent_hash": "hash $remote_addr consistent;",
    "ip_hash": "ip_hash;",
}
_NGINX_POOL = "upstream {name} {{ {policy} {servers} keepalive {idle}; keepalive_requests 1000000000; }}"
# The key is in the certificate's file. Session tickets are on in all proxies, as by default.
_NGINX_TLS = (
    "ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols TLSv1.3;"
    " ssl_conf_command Ciphersuites {suite};"
)
_HAPROXY_TLS = "ssl crt {certificate} ssl-min-ver TLSv1.3 ciphersuites {suite} alpn http/1.1"
_HAPROXY_POOL = """backend {name}
    balance {policy}
    http-reuse always
    option httpchk GET /
    {sticky}
    {servers}
"""
_CADDY_SITE = """http://:{port} {{
	bind 127.0.0.1
	{log}
	reverse_proxy {servers} {{
		import options
	}}
}}"""
HAPROXY_POLICIES = {
    "least_connections": "leastconn",
    "round_robin": "roundrobin",
    "random": "random(1)",
    "power_of_two": "random(2)",
    "peak_ewma": "random(2)",
    "consistent_hash": "source\n    hash-type consistent",
    "ip_hash": "source",
}


@dataclass(frozen=True, slots=True)
class Contender:
    """A proxy under test. `program` must be on the path, and comes with a Debian package; "" for ours."""

    name: str
    prepare: Prepare
    program: str = ""
    package: str = ""


def nginx(place: Place, setup: Setup, settings: Mapping[str, str]) -> Launch:
    connection = (
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h;"
        if setup.origin.name == "ECHO"
        else 'proxy_set_header Connection "";'
    )
    listen = f"127.0.0.1:{place.port}"
    options = "backlog=4096"
    if setup.tls:
        options = f"ssl {options}"
    idle = max(64, 2 * setup.upstreams)  # as idle connections of another upstream are no use
    return proxies.nginx(
        HERE / "nginx.conf.template",
        place.directory,
        log=f"{place.directory}/access.log" if setup.log else "off",
        buffering="off" if setup.unbuffered else "on",
        connection=connection,
        pools="\n    ".join(
            _NGINX_POOL.format(
                name=name,
                policy=NGINX_POLICIES[setup.policy],
                servers=" ".join(f"server {one};" for one in upstreams),
                idle=idle,
            )
            for name, upstreams in _pools(place, setup).items()
        ),
        tls=_NGINX_TLS.format(certificate=place.certificate, suite=tls.SUITE) if setup.tls else "",
        servers=site.nginx(listen, options)
        if setup.routes
        else f"server {{ listen {listen} {options}; location / {{ proxy_pass http://app; }} }}",
    )


def _pools(place: Place, setup: Setup) -> dict[str, list[str]]:
    """The upstreams of each pool by its name."""
    if setup.routes:
        return {f"pool{number}": upstreams for number, upstreams in enumerate(site.members(place))}
    return {"app": [f"127.0.0.1:{port}" for port in place.upstreams]}


def haproxy(place: Place, setup: Setup, settings: Mapping[str, str]) -> Launch:
    cookie = " cookie s{}" if setup.sticky else ""
    pools = (
        _HAPROXY_POOL.format(
            name=name,
            policy=HAPROXY_POLICIES[setup.policy],
            sticky="cookie SERVER insert indirect nocache" if setup.sticky else "",
            servers="\n    ".join(
                f"server app{number} {upstream} check inter 2s{cookie.format(number)}"
                for number, upstream in enumerate(upstreams, 1)
            ),
        )
        for name, upstreams in _pools(place, setup).items()
    )
    return proxies.haproxy(
        HERE / "haproxy.cfg.template",
        place.directory,
        port=str(place.port),
        tls=_HAPROXY_TLS.format(certificate=place.certificate, suite=tls.SUITE) if setup.tls else "",
        scheme="https" if setup.tls else "http",
        log="log stdout format raw local0 info" if setup.log else "",
        logged="log global\n    option httplog" if setup.log else "",
        choice=site.haproxy(place.directory) if setup.routes else "default_backend app",
        pools="\n".join(pools),
    )


def caddy(place: Place, setup: Setup, settings: Mapping[str, str]) -> Launch:
    log = f"log {{\n\t\toutput file {place.directory}/access.log\n\t}}" if setup.log else ""
    servers = " ".join(f"127.0.0.1:{upstream}" for upstream in place.upstreams)
    one = _CADDY_SITE.format(port=place.port, log=log, servers=servers)
    sites = site.caddy(place.port, site.members(place)) if setup.routes else one
    file = render(HERE / "caddyfile.template", place.directory, sites=sites)
    launch = Launch(["caddy", "run", "--adapter", "caddyfile", "--config", str(file)])
    home = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(place.directory))
    return Launch(launch.argv, {**launch.environment, **home})


def naive(place: Place, setup: Setup, settings: Mapping[str, str]) -> Launch:
    log = [f"--log={place.directory}/access.log"] if setup.log else []
    argv = [sys.executable, "-m", "loadtests.naive", *log, str(place.port), *map(str, place.upstreams)]
    return Launch(argv, builds.plain().environment())


def ours(build: Build | None) -> Prepare:
    """This balancer, in a build; None: as this process would import it."""

    def prepare(place: Place, setup: Setup, settings: Mapping[str, str]) -> Launch:
        own = {"POLICY": setup.policy, "ACCESS_LOG__ENABLED": str(setup.log).lower()}
        if setup.sticky:
            own |= {"STICKY__ENABLED": "true", "STICKY__SECRET": "of the benchmark, 32 bytes or longer"}
        upstreams = [f"127.0.0.1:{upstream}" for upstream in place.upstreams]
        if setup.routes:
            own |= site.ours(site.members(place))
            upstreams = []  # no pool beside those of the routes
        if setup.tls:
            own |= {
                "TLS__LISTEN": f"127.0.0.1:{place.port}",
                "TLS__CERTIFICATES": str(place.certificate),
                "TLS__MIN_VERSION": "1.3",
            }
        own |= {**setup.settings, **settings}
        # With TLS there is a plain listener too, on any port, at which nobody asks.
        listen = 0 if setup.tls else place.port
        launch = proxies.balancer(listen, place.spare, upstreams, **own)
        return Launch(launch.argv, build.environment(launch.environment)) if build is not None else launch

    return prepare


PEERS = (
    Contender("nginx", nginx, "nginx", "nginx-light"),
    Contender("haproxy", haproxy, "haproxy", "haproxy"),
    Contender("caddy", caddy, "caddy", "caddy"),
    Contender("naive", naive),
)
NAMES = (*(peer.name for peer in PEERS), "ours", "plain")


def launch(name: str, place: Place, setup: Setup) -> Launch:
    """The command of a peer, or of `ours` as this process would import it."""
    peers = {peer.name: peer.prepare for peer in PEERS} | {"ours": ours(None)}
    return peers[name](place, setup, {})


def installed(names: Sequence[str]) -> list[str]:
    """Those of these names whose programs are there."""
    programs = {peer.name: peer.program for peer in PEERS if peer.program}
    return [name for name in names if name not in programs or shutil.which(programs[name]) is not None]


def available(names: tuple[str, ...], compiled: Path) -> tuple[dict[str, Contender], list[str]]:
    """The contenders of these names that can run, and a sentence for each that is left out."""
    _require({"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"})  # nginx is always the origin
    found, left_out = {}, []
    for peer in PEERS:
        if peer.name not in names:
            continue
        if peer.program and shutil.which(peer.program) is None:
            left_out.append(
                f"{peer.name} is not installed; left out (on Debian: apt-get install {peer.package})"
            )
        else:
            found[peer.name] = peer
    if "ours" in names:
        try:
            found["ours"] = Contender("ours", ours(builds.compiled(compiled)))
        except BenchError as error:
            left_out.append(f"ours is left out: {error}")
    if "plain" in names:
        found["plain"] = Contender("plain", ours(builds.plain()))
    return found, left_out


def _require(needed: dict[str, str]) -> None:
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        packages = " ".join(needed[program] for program in missing)
        raise BenchError(f"{' and '.join(missing)} not found: on Debian, apt-get install {packages}")
