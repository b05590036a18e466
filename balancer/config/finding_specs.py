"""Entries of UPSTREAMS that find upstreams (L1): `dns://app:8000`, `srv://_http._tcp.app.example`,
`file:///etc/balancer/members.yaml`, and those of one's own, `consul://web`."""

from collections.abc import Set
from dataclasses import dataclass
from ipaddress import ip_address

from balancer.config import upstream_options as o
from balancer.config.address import check_host, is_ip, join_host_port, split_host_port

OWN = "balancer.discovery"  # the group of entry points whose names are schemes
_DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """A name of which every address is an upstream with that `weight`; looked up every `refresh` seconds.
    `tls`: they speak TLS, and their certificates have that name."""

    host: str
    port: int
    weight: int = 1
    refresh: float = o.DEFAULT_REFRESH
    backup: bool = False
    tls: bool = False

    @property
    def id(self) -> str:
        """The source of the upstreams it finds, as shown to people: `dns://app:8000`."""
        return f"dns://{join_host_port(self.host, self.port)}"

    def __str__(self) -> str:
        return o.written(self.id, weight=self.weight, backup=self.backup, refresh=self.refresh, tls=self.tls)


@dataclass(frozen=True, slots=True)
class SrvSpec:
    """A name whose SRV records (RFC 2782) list the upstreams; looked up every `refresh` seconds at
    `nameserver`, an IP address and a port, "" for the system's. `backup`: all of them are. `tls`: they speak
    TLS."""

    host: str
    refresh: float = o.DEFAULT_REFRESH
    backup: bool = False
    tls: bool = False
    nameserver: str = ""

    @property
    def id(self) -> str:
        """The source of the upstreams it finds: `srv://_http._tcp.app.example`."""
        return f"srv://{self.host}"

    @property
    def domain(self) -> str:
        """The name in certificates: without the labels of service and protocol (RFC 6125 section 6.2.1). Not
        the records' targets: whoever forges the answer writes those."""
        labels = self.host.split(".")
        while len(labels) > 1 and labels[0].startswith("_"):
            del labels[0]
        return ".".join(labels)

    def __str__(self) -> str:
        return o.written(
            self.id, backup=self.backup, refresh=self.refresh, tls=self.tls, nameserver=self.nameserver
        )


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file that lists upstreams, read again whenever it changes; `path` is absolute."""

    path: str
    backup = False  # its lines say so
    tls = True  # some of them may

    @property
    def id(self) -> str:
        """The source of the upstreams it finds: `file:///etc/balancer/members.yaml`."""
        return f"file://{self.path}"

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class OwnSpec:
    """An entry for an installed source: `id` is its whole text, whose scheme names the source."""

    id: str
    backup = False
    tls = True

    @property
    def scheme(self) -> str:
        """The name of the entry point."""
        return self.id.partition("://")[0]

    def __str__(self) -> str:
        return self.id


def own_schemes() -> Set[str]:
    """The schemes of installed sources; none of them is loaded."""
    from importlib.metadata import entry_points  # here: 1 MiB and 15 ms that few need

    return {entry.name for entry in entry_points(group=OWN)}


def dns(host: str, port: int, options: dict[str, str]) -> DnsSpec:
    """From the parts of `dns://host:port?options`."""
    if is_ip(host):
        raise ValueError(f"looks up an IP address; write {join_host_port(host, port)}")
    if "nameserver" in options:
        raise ValueError("has the option nameserver, which only srv:// takes; remove it")
    return DnsSpec(
        host, port, o.weight(options), o.refresh(options), o.truth(options, "backup"), o.truth(options, "tls")
    )


def srv(rest: str, query: str) -> SrvSpec:
    """From what is behind `srv://`. Raises ValueError."""
    name, port = split_host_port(rest.rstrip("/"), "srv://_http._tcp.app.example")
    check_host(name)
    if is_ip(name):
        raise ValueError(f"looks up an IP address; write {join_host_port(name, port or 8000)}")
    if port is not None:
        raise ValueError(f"has a port, which is in the records; write srv://{name}, or dns://{name}:{port}")
    options = o.options_in(query)
    if "weight" in options:
        raise ValueError("has the option weight, which is in the records; remove it")
    return SrvSpec(
        name,
        o.refresh(options),
        o.truth(options, "backup"),
        o.truth(options, "tls"),
        _nameserver(options["nameserver"]) if "nameserver" in options else "",
    )


def _nameserver(text: str) -> str:
    """An IP address and a port, 53 if it is not given."""
    if is_ip(text):  # IPv6 needs no brackets without a port
        return join_host_port(str(ip_address(text)), _DNS_PORT)
    host, port = split_host_port(text, "?nameserver=10.0.0.53 or ?nameserver=10.0.0.53:8600")
    if not is_ip(host) or (port is not None and not 0 < port < 65536):
        raise ValueError(f"has a nameserver that is not an IP address ({text}); write ?nameserver=10.0.0.53")
    return join_host_port(host, port or _DNS_PORT)


def file(rest: str, query: str) -> FileSpec:
    """From what is behind `file://`. Raises ValueError."""
    if not rest.startswith("/") or rest.endswith("/") or not rest.isprintable():
        raise ValueError("is no absolute path of a file; write file:///etc/balancer/members.yaml")
    path = f"/{rest.lstrip('/')}"
    if query:
        raise ValueError(f"has options, which the lines of the file have; write file://{path}")
    return FileSpec(path)
