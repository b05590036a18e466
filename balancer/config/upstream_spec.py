"""One entry of UPSTREAMS (L1): `app1:8000`, `10.0.0.2:8000?weight=3`, `http://app3:8000`, `[::1]:8000`."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from balancer.config.address import check_host, join_host_port, split_host_port

MAX_WEIGHT = 1000
_LATER_SCHEMES = {
    "dns": "write the name as app:8000, or list the addresses",
    "https": "use http:// or plain host:port",
}
_LATER_OPTIONS = ("backup", "refresh")


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """An upstream as the settings name it: `host` is an IP address or a name that is still to be resolved."""

    host: str
    port: int
    weight: int = 1

    @property
    def id(self) -> str:
        """The identity under which state is kept, across reloads too: `app1:8000`."""
        return join_host_port(self.host, self.port)

    def __str__(self) -> str:
        return self.id if self.weight == 1 else f"{self.id}?weight={self.weight}"


def parse_upstream(value: object) -> UpstreamSpec:
    """Read one entry. Raises ValueError with the end of a sentence."""
    if isinstance(value, UpstreamSpec):
        return value
    if isinstance(value, dict):
        raise ValueError(
            "is a mapping; write each upstream as one string: app1:8000, no space after the colon"
        )
    if not isinstance(value, str):
        raise ValueError("is not host:port; write app1:8000")
    text, _, query = value.strip().partition("?")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "", text
    elif scheme.lower() in _LATER_SCHEMES:
        raise ValueError(
            f"is not supported by this version yet ({scheme}://); {_LATER_SCHEMES[scheme.lower()]}"
        )
    elif scheme.lower() != "http":
        raise ValueError(f"has an unknown scheme ({scheme}://); write host:port or http://host:port")
    authority, slash, path = rest.partition("/")
    if path or (slash and not scheme):
        raise ValueError(f"has a path; requests keep their own, so write {authority}")
    if "@" in authority:
        raise ValueError("has a user name in it, which is not supported; write host:port")
    host, port = split_host_port(authority)
    check_host(host)
    if port is None:
        if not scheme:
            raise ValueError(f"has no port; write {authority}:8000")
        port = 80
    if not 0 < port < 65536:
        raise ValueError(f"has a port outside 1 to 65535 ({port})")
    return UpstreamSpec(host, port, _weight(query))


def refuse_duplicates(upstreams: tuple[UpstreamSpec, ...]) -> tuple[UpstreamSpec, ...]:
    """Raise ValueError when two entries are the same upstream, or when there is none."""
    if not upstreams:
        raise ValueError("names no upstream; write app1:8000,app2:8000")
    ids = [upstream.id for upstream in upstreams]
    twice = sorted({each for each in ids if ids.count(each) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise ValueError(f"names {', '.join(twice)} twice; for a larger share write {twice[0]}?weight=2")
    return upstreams


def _weight(query: str) -> int:
    options = parse_qsl(query, keep_blank_values=True)
    for name, _ in options:
        if name in _LATER_OPTIONS:
            raise ValueError(f"has the option {name}, which is not supported by this version yet; remove it")
        if name != "weight":
            raise ValueError(f"has an unknown option ({name}); the only one is ?weight=3")
    if len(options) > 1:
        raise ValueError("has more than one weight")
    if not options:
        return 1
    text = options[0][1]
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_WEIGHT):
        raise ValueError(f"has a weight that is not a whole number from 1 to {MAX_WEIGHT} ({text})")
    return int(text)
