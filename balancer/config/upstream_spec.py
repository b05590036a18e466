"""One entry of UPSTREAMS (L1): `app1:8000`, `10.0.0.2:8000?weight=3`, `https://app3:8443`, `dns://app:8000`."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from balancer.config.address import UNIX, check_host, is_ip, join_host_port, split_host_port
from balancer.config.durations import format_duration, parse_duration

DEFAULT = "default"  # the pool that UPSTREAMS defines
MAX_WEIGHT = 1000
DEFAULT_REFRESH = 2.0
MIN_REFRESH = 0.1
MAX_REFRESH = 3600.0
_PORTS = {"http": 80, "https": 443}  # by scheme
_LONGEST_PATH = 107  # bytes of the path of a unix socket, by unix(7)
# Frequent mistakes, and the remedy; {0}, {1} ... are the pattern's groups.
_MISTAKES = (
    (r"(/(?!/)(?!.*:[0-9]+\Z).*)", "is a path; for a unix socket write unix:{0}"),
    (r"/+([^/].*)", "begins with a slash; write {0}"),
    (r"(?i:(https?|dns))[:/]{1,3}([A-Za-z0-9_.-]+:[0-9]+)/?", "has no :// behind its scheme; write {0}://{1}"),
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
        return _with_options(name, _shown(self.weight, self.backup))


@dataclass(frozen=True, slots=True)
class DnsSpec:
    """A name of which every address is an upstream with that `weight`; looked up every `refresh` seconds.
    `tls`: they speak TLS, and their certificates have that name."""

    host: str
    port: int
    weight: int = 1
    refresh: float = DEFAULT_REFRESH
    backup: bool = False
    tls: bool = False

    @property
    def id(self) -> str:
        """The source of the upstreams it finds, as shown to people: `dns://app:8000`."""
        return f"dns://{join_host_port(self.host, self.port)}"

    def __str__(self) -> str:
        options = _shown(self.weight, self.backup)
        if self.refresh != DEFAULT_REFRESH:
            options.append(f"refresh={format_duration(self.refresh)}")
        if self.tls:
            options.append("tls=true")
        return _with_options(self.id, options)


Spec = UpstreamSpec | DnsSpec


def parse_upstream(value: object) -> Spec:
    """Read one entry. Raises ValueError with the end of a sentence."""
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
    if kind not in ("", "dns", *_PORTS):
        raise ValueError(
            f"has an unknown scheme ({scheme}://); write host:port, https://host:port or dns://name:port"
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
    options = _options(query)
    weight = _weight(options.pop("weight", "1"))
    backup = _truth(options, "backup")
    if kind == "dns":
        if is_ip(host):
            raise ValueError(f"looks up an IP address; write {join_host_port(host, port)}")
        refresh = _refresh(options.pop("refresh", "2s"))
        return DnsSpec(host, port, weight, refresh, backup, _truth(options, "tls"))
    if "refresh" in options:
        raise ValueError(
            f"has the option refresh, which only dns:// takes; remove it, or write dns://{authority}"
        )
    if "tls" in options:
        raise ValueError(f"has the option tls, which only dns:// takes; write https://{authority}")
    return UpstreamSpec(host, port, weight, backup, kind == "https")


def _unix(path: str, query: str) -> UpstreamSpec:
    path = f"/{path.lstrip('/')}" if path.startswith("//") else path
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError("is no path of a unix socket; write unix:/run/app.sock")
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"has a path of more than {_LONGEST_PATH} bytes, which no unix socket can have")
    options = _options(query)
    for name in ("refresh", "tls"):
        if name in options:
            raise ValueError(f"has the option {name}, which only dns:// takes; remove it")
    return UpstreamSpec(UNIX + path, 0, _weight(options.get("weight", "1")), _truth(options, "backup"))


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
    if twice := _repeated(upstream.id for upstream in upstreams):
        raise ValueError(f"names {', '.join(twice)} twice; for a larger share write {twice[0]}?weight=2")
    if twice := _repeated(join_host_port(upstream.host, upstream.port) for upstream in upstreams):
        raise ValueError(
            f"names {', '.join(twice)} with dns:// and without; keep dns://{twice[0]} for an upstream per "
            f"address, or {twice[0]} for one upstream"
        )
    return upstreams


def _repeated(ids: Iterable[str]) -> list[str]:
    return sorted(each for each, count in Counter(ids).items() if count > 1)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in ("weight", "backup", "refresh", "tls"):
            raise ValueError(
                f"has an unknown option ({name}); the options are ?weight=3, ?backup=true, and "
                "for dns:// ?refresh=2s and ?tls=true"
            )
        if name in options:
            raise ValueError(f"has more than one {name}")
        options[name] = value
    return options


def _shown(weight: int, backup: bool) -> list[str]:
    options = [f"weight={weight}"] if weight != 1 else []
    return [*options, "backup=true"] if backup else options


def _with_options(name: str, options: list[str]) -> str:
    return f"{name}?{'&'.join(options)}" if options else name


def _truth(options: dict[str, str], name: str) -> bool:
    """An option that is false if it is not given."""
    text = options.get(name, "false")
    if text not in ("true", "false"):
        raise ValueError(f"has a {name} that is neither true nor false ({text}); write ?{name}=true")
    return text == "true"


def _weight(text: str) -> int:
    if text == "0":
        raise ValueError(
            "has the weight 0; leave it out, or take it out of a running balancer with balancer maintenance"
        )
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_WEIGHT):
        raise ValueError(f"has a weight that is not a whole number from 1 to {MAX_WEIGHT} ({text})")
    return int(text)


def _refresh(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not MIN_REFRESH <= seconds <= MAX_REFRESH:
        raise ValueError(f"has a refresh that is not a duration from 100ms to 1h ({text}); write ?refresh=2s")
    return round(seconds, 3)  # the finest step that is written back is a millisecond
