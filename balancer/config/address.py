"""Addresses (L1): `host:port` as written in settings, for listeners and, in part, for upstreams."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{1,9}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
# IDNA 2003, which Python has, changes or drops these, and IDNA 2008 keeps them (RFC 5894 section 7.2).
_DISPUTED = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")
_PORT = re.compile(r"[1-9][0-9]{1,4}")
_LAST_LABEL_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+\.?")


def split_host_port(
    text: str, example: str = "app1:8000, 10.0.0.2:8000 or [::1]:8000"
) -> tuple[str, int | None]:
    """Host (without brackets, in lower case, IPv6 in its short form) and port (None if there is none).

    Raises ValueError with the end of a sentence if the text is neither name, IPv4 nor [IPv6].
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        if text.startswith("unix:"):
            raise ValueError(f"is a unix socket, which only upstreams can be; write {example}")
        if "]" not in text and text.startswith("["):
            raise ValueError(f"has a bracket that is not closed; write {_bracketed(text[1:])}")
        if text.count(":") > 1 and _is_v6(_bare(text)):
            raise ValueError(f"is an IPv6 address without brackets; write {_bracketed(text)}")
        raise ValueError(f"is not host:port; write {example}")
    port = None if match["port"] is None else int(match["port"])
    if match["v6"] is not None:
        try:
            return str(IPv6Address(match["v6"])), port
        except ValueError:
            raise ValueError(f"has no IPv6 address in its brackets ({match['v6']})") from None
    return match["name"].lower(), port


def _bare(text: str) -> str:
    """An IPv6 address without the port after it."""
    address, _, port = text.rpartition(":")
    return address if _PORT.fullmatch(port) and _is_v6(address) else text


def _bracketed(text: str) -> str:
    """How to write an IPv6 address, with the port after it, if there is one."""
    address = _bare(text)
    if address == text:
        return f"[{text}]:8000"
    either = f", or [{text}]:8000 if all of it is the address" if _is_v6(text) else ""
    return f"[{address}]{text[len(address) :]}{either}"


def check_host(host: str) -> None:
    """Raise ValueError unless `host` is an IP address or a possible DNS name."""
    if is_ip(host):
        return
    if _LAST_LABEL_NUMERIC.fullmatch(host):
        raise ValueError(f"has no valid IPv4 address ({host})")
    if _NAME.fullmatch(host) is None:
        if not host.isascii():
            raise ValueError(f"has a host name that is not ASCII; write {_as_in_dns(host)}")
        raise ValueError("has no valid host name; write app1:8000, 10.0.0.2:8000 or [::1]:8000")


def ascii_name(name: str) -> str | None:
    """A host name as in DNS and in a Host field: `xn--mnchen-3ya.example` for `münchen.example`. None if it
    has none, or if programs disagree which."""
    if _DISPUTED.search(name):
        return None
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return None


def _as_in_dns(name: str) -> str:
    return ascii_name(name) or "the form that DNS has, xn--..."


UNIX = "unix:"  # the host of an upstream on a unix socket is this and the path; its port is 0


def is_unix(host: str) -> bool:
    """Whether `host` is a unix socket."""
    return host.startswith(UNIX)


def join_host_port(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets; a unix socket has no port."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A listener's address: an IP address, and a port, 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)

    def clashes_with(self, other: "Address") -> bool:
        """Whether listening on both is impossible: the same port, on the same address or on all addresses."""
        if self.port != other.port or self.port == 0:
            return False
        return self.host == other.host or any(ip_address(a.host).is_unspecified for a in (self, other))


def parse_listen(value: object, example: str = "0.0.0.0:8080") -> Address:
    """`0.0.0.0:8080`, `[::]:8080`, `localhost:8080`, or `:8080` for every IPv4 address."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(f"is not host:port; write {example}")
    text = value.strip()
    if text.isdigit():
        raise ValueError(f"is a port without an address; write {example.rpartition(':')[0]}:{text}")
    if "://" in text:
        raise ValueError(f"is a URL; write {text.partition('://')[2].rstrip('/')}")
    if text.lower() in ("off", "none", "no", "false", "disabled"):
        raise ValueError(f"is not an address, and a listener cannot be turned off; write {example}")
    if "," in text:
        raise ValueError("is more than one address; write one: with IPv6, [::]:8080 accepts IPv4 as well")
    host, port = split_host_port(text, example)
    host = {"": "0.0.0.0", "*": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)
    if port is None:
        known = f"{text}:{example.rpartition(':')[2]}" if is_ip(host) else example
        raise ValueError(f"has no port; write {known}")
    if port > 65535:
        raise ValueError("has a port above 65535")
    if not is_ip(host):
        raise ValueError("is not an IP address and a port; write 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080")
    return Address(host, port)


def parse_host_name(text: str) -> str:
    """A name or IP address as in a Host field, without port, brackets and final dot, in lower case."""
    if "://" in text or "/" in text:
        raise ValueError("is a URL; write the name alone: lb.example")
    if "*" in text:
        raise ValueError("has a wildcard, which ADMIN_HOSTS does not support; write each name")
    if is_ip(text.strip("[]")):
        return str(ip_address(text.strip("[]")))
    host, port = split_host_port(text, "lb.example or 10.0.0.2")
    if port is not None:
        raise ValueError(f"has a port, which does not matter here; write {host}")
    if _NAME.fullmatch(host) is None:
        if not host.isascii():
            raise ValueError(f"is not ASCII, as names in DNS and in Host are; write {_as_in_dns(host)}")
        raise ValueError("is not a host name; write lb.example or 10.0.0.2")
    return host.removesuffix(".")


def is_ip(host: str) -> bool:
    """Whether `host` is an IP address, without brackets."""
    return _ip_or_none(host) is not None


def needs_no_look_up(host: str) -> bool:
    """Whether `host` can be connected to as it is."""
    return is_unix(host) or is_ip(host)


def _ip_or_none(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_v6(text: str) -> bool:
    return isinstance(_ip_or_none(text), IPv6Address)
