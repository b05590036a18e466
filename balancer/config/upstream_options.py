"""The options of an entry of UPSTREAMS (L1): what comes after its question mark, `?weight=3&backup=true`."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from balancer.config.durations import format_duration, parse_duration

MAX_WEIGHT = 1000
DEFAULT_REFRESH = 2.0
MIN_REFRESH = 0.1
MAX_REFRESH = 3600.0
_KNOWN = ("weight", "backup", "refresh", "tls", "nameserver")


def options_in(query: str) -> dict[str, str]:
    """The options by name, each once. Raises ValueError for unknown ones, as all below for bad values."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _KNOWN:
            raise ValueError(
                f"has an unknown option ({name}); the options are ?weight=3, ?backup=true, and "
                "for dns:// and srv:// ?refresh=2s and ?tls=true"
            )
        if name in options:
            raise ValueError(f"has more than one {name}")
        options[name] = value
    return options


def truth(options: Mapping[str, str], name: str) -> bool:
    """An option that is false if it is not given."""
    text = options.get(name, "false")
    if text not in ("true", "false"):
        raise ValueError(f"has a {name} that is neither true nor false ({text}); write ?{name}=true")
    return text == "true"


def weight(options: Mapping[str, str]) -> int:
    """The share of the load, from 1 to MAX_WEIGHT."""
    text = options.get("weight", "1")
    if text == "0":
        raise ValueError(
            "has the weight 0; leave it out, or take it out of a running balancer with balancer maintenance"
        )
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_WEIGHT):
        raise ValueError(f"has a weight that is not a whole number from 1 to {MAX_WEIGHT} ({text})")
    return int(text)


def refresh(options: Mapping[str, str]) -> float:
    """Seconds from one lookup to the next."""
    text = options.get("refresh", "2s")
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if not MIN_REFRESH <= seconds <= MAX_REFRESH:
        raise ValueError(f"has a refresh that is not a duration from 100ms to 1h ({text}); write ?refresh=2s")
    return round(seconds, 3)  # the finest step that is written back is a millisecond


def written(name: str, *, weight: int = 1, backup: bool = False, refresh: float = DEFAULT_REFRESH,
            tls: bool = False, nameserver: str = "") -> str:  # fmt: skip
    """`name` with those options that are not the default."""
    options = [f"weight={weight}"] if weight != 1 else []
    if backup:
        options.append("backup=true")
    if refresh != DEFAULT_REFRESH:
        options.append(f"refresh={format_duration(refresh)}")
    if tls:
        options.append("tls=true")
    if nameserver:
        options.append(f"nameserver={nameserver}")
    return f"{name}?{'&'.join(options)}" if options else name
