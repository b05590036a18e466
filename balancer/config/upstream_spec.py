"""One entry of UPSTREAMS (L1): `app1:8000`, `10.0.0.2:8000?weight=3`, `https://app3:8443`, or one that finds
upstreams (`finding_specs`)."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

from balancer.config import finding_specs, upstream_options
from balancer.config.address import UNIX, check_host, join_host_port, needs_no_look_up, split_host_port
from balancer.config.finding_specs import DnsSpec, FileSpec, OwnSpec, SrvSpec
from balancer.config.upstream_options import MAX_WEIGHT as MAX_WEIGHT

DEFAULT = "default"  # the pool that UPSTREAMS defines
_PORTS = {"http": 80, "https": 443}  # by scheme
_LONGEST_PATH = 107  # bytes of the path of a unix socket, by unix(7)
# Frequent mistakes, and the remedy; {0}, {1} ... are the pattern's groups.
_MISTAKES = (
    (r"(/(?!/)(?!.*:[0-9]+\Z).*)", "is a path; for a unix socket write unix:{0}"),
    (r"/+([^/].*)", "begins with a slash; write {0}"),
    (r"(?i:(https?|dns))[:/]{1,3}([A-Za-z0-9_.-]+:[0-9]+)/?", "has no :// behind its scheme; write {0}://{1}"),
    (r"(?i:file):(/[^/].*)", "has no :// behind its scheme; write file://{0}"),
    (r"(?i:srv)[:/]{1,3}([A-Za-z0-9_.-]+)/?", "has no :// behind its scheme; write srv://{0}"),
    (r"([^\s;|&?]+:[0-9]+)[\s;|]+([^\s;|&?=]+:[0-9]+).*", "is more than one upstream; put commas between "
     "them: {0},{1}"),
    (r"([^\s;&?]+)[\s;&]+((?:weight|backup|refresh|tls)=.*)", "has its options without a question mark; "
     "write {0}?{1}"),
    (r"(?i:[a-z]+\+unix|unix\+[a-z]+):/*(/.*)", "is a unix socket with another scheme, which is "
     "not supported; write unix:{0}"),
    (r"([0-9]+)", "is a port without a name; write app1:{0}"),
    (r"[^?]*\$.*", "contains a variable that was not replaced; write the name itself"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """An upstream as written in the settings: `host` is an IP address, a name not yet resolved, or
    `unix:/run/app.sock`, whose port is 0. `tls`: it speaks TLS."""

    host: str
    port: int
    weight: int = 1
    backup: bool = False  # used only if no other upstream is eligible
    tls: bool = False

    @property
    def id(self) -> str:
        """The key under which state is kept, also across reloads: `app1:8000`."""
        return join_host_port(self.host, self.port)

    def __str__(self) -> str:
        name = f"https://{self.id}" if self.tls else self.id
        return upstream_options.written(name, weight=self.weight, backup=self.backup)


FindingSpec = DnsSpec | SrvSpec | FileSpec | OwnSpec
Spec = UpstreamSpec | FindingSpec


def parse_upstream(value: object, own_schemes: Callable[[], Set[str]] = finding_specs.own_schemes) -> Spec:
    """Read one entry. `own_schemes` are those of installed sources. Raises ValueError with the end of a
    sentence."""
    if isinstance(value, Spec):
        return value
    if isinstance(value, dict):
        raise ValueError(
            "is a mapping; write each upstream as one string: app1:8000, no space after the colon"
        )
    if not isinstance(value, str):
        raise ValueError("is not host:port; write app1:8000")
    text, _, query = value.strip().partition("?")
    if text[: len(UNIX)].lower() == UNIX:
        return _unix(text[len(UNIX) :], query)
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "", text
    if found and rest[: len(UNIX)].lower() == UNIX:
        path = rest[len(UNIX) :].partition(":")[0]  # nginx has a colon between the socket and a path
        raise ValueError(f"has a scheme, which a unix socket has not; write {UNIX}{path}")
    kind = scheme.lower()
    if kind == "srv":
        return finding_specs.srv(rest, query)
    if kind == "file":
        return finding_specs.file(rest, query)
    if kind not in ("", "dns", *_PORTS):
        if kind in own_schemes():
            return OwnSpec(f"{kind}://{value.strip().partition('://')[2]}")
        raise ValueError(
            f"has an unknown scheme ({scheme}://); write host:port, https://host:port, dns://name:port, "
            "srv://name or file:///path, or install the package that provides this one"
        )
    if not scheme:
        _refuse_what_is_not_one(value.strip())
    authority, slash, path = rest.partition("/")
    if path or (slash and not scheme):
        shown = f"https://{authority}" if kind == "https" else authority
        raise ValueError(f"has a path; requests keep their own, so write {shown}")
    if "@" in authority:
        raise ValueError("has a user name in it, which is not supported; write host:port")
    if authority.count(":") > 1 and "%" in authority:
        raise ValueError(
            "is a link-local address with a zone, which upstreams cannot have; write another "
            "address of the replica"
        )
    host, port = split_host_port(authority)
    check_host(host)
    if port is None:
        if kind not in _PORTS:
            raise ValueError(f"has no port; write {text.rstrip('/')}:8000")
        port = _PORTS[kind]
    if not 0 < port < 65536:
        raise ValueError(f"has a port outside 1 to 65535 ({port})")
    options = upstream_options.options_in(query)
    if kind == "dns":
        return finding_specs.dns(host, port, options)
    if "refresh" in options:
        raise ValueError(
            f"has the option refresh, which only dns:// takes; remove it, or write dns://{authority}"
        )
    if "tls" in options:
        raise ValueError(f"has the option tls, which only dns:// takes; write https://{authority}")
    return _upstream(host, port, options, kind == "https")


def parse_member(text: object) -> UpstreamSpec:
    """Read an upstream that comes from elsewhere than the settings: it has an IP address, or is a unix
    socket. Raises ValueError with the end of a sentence."""
    spec = parse_upstream(text, frozenset)
    if not isinstance(spec, UpstreamSpec) or not needs_no_look_up(spec.host):
        raise ValueError("has no IP address; names can be used only in UPSTREAMS")
    return spec


def _upstream(host: str, port: int, options: dict[str, str], tls: bool) -> UpstreamSpec:
    if "nameserver" in options:
        raise ValueError("has the option nameserver, which only srv:// takes; remove it")
    weight = upstream_options.weight(options)
    return UpstreamSpec(host, port, weight, upstream_options.truth(options, "backup"), tls)


def _unix(path: str, query: str) -> UpstreamSpec:
    path = f"/{path.lstrip('/')}" if path.startswith("//") else path
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError("is no path of a unix socket; write unix:/run/app.sock")
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"has a path of more than {_LONGEST_PATH} bytes, which no unix socket can have")
    options = upstream_options.options_in(query)
    for name in ("refresh", "tls"):
        if name in options:
            raise ValueError(f"has the option {name}, which only dns:// takes; remove it")
    return _upstream(UNIX + path, 0, options, False)


def _refuse_what_is_not_one(text: str) -> None:
    for pattern, remedy in _MISTAKES:
        if match := re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError(remedy.format(*match.groups()))


def refuse_duplicates(upstreams: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Raise ValueError if all are backups, or two entries are the same upstream or name."""
    if upstreams and all(upstream.backup for upstream in upstreams):
        raise ValueError(
            "names only backup upstreams, which serve only if no other is eligible; remove "
            "?backup=true from the regular ones"
        )
    weighted = [upstream for upstream in upstreams if isinstance(upstream, UpstreamSpec | DnsSpec)]
    if twice := _repeated(upstream.id for upstream in weighted):
        raise ValueError(f"names {', '.join(twice)} twice; for a larger share write {twice[0]}?weight=2")
    if twice := _repeated(upstream.id for upstream in upstreams):
        raise ValueError(f"names {', '.join(twice)} twice; keep one of them")
    if twice := _repeated(join_host_port(upstream.host, upstream.port) for upstream in weighted):
        raise ValueError(
            f"names {', '.join(twice)} with dns:// and without; keep dns://{twice[0]} for an upstream per "
            f"address, or {twice[0]} for one upstream"
        )
    return upstreams


def _repeated(ids: Iterable[str]) -> list[str]:
    return sorted(each for each, count in Counter(ids).items() if count > 1)
