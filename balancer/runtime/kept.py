"""What an instance keeps beyond its end (L7): in the file of `STATE__FILE`, or handed to the program that
replaces it. The form of the file; nothing else reads it.
"""

from typing import Annotated, Literal, TypeAlias

from balancer.config.shares import MOST_WEIGHT as MOST_SHARE
from balancer.config.upstream_spec import MAX_WEIGHT
from balancer.spec.part import Bounds, Decoder, LoosePart, Part

VERSION = 1
_Count: TypeAlias = Annotated[int, Bounds(ge=0, lt=1 << 62)]
_Weight: TypeAlias = Annotated[int, Bounds(ge=1, le=MAX_WEIGHT)]
_Share: TypeAlias = Annotated[int, Bounds(ge=0, le=MOST_SHARE)]


class KeptUpstream(Part, frozen=True, kw_only=True):
    """What an operator has set at an upstream. `added` is its entry of UPSTREAMS if the API has added it,
    else "". `admin_state` and `weight` are None if they are those of the settings; `at` is in seconds since
    the epoch."""

    pool: str
    id: str
    added: str = ""
    admin_state: Literal["draining", "maintenance"] | None = None
    weight: _Weight | None = None
    by: str = ""
    at: float = 0.0


class KeptSplit(Part, frozen=True, kw_only=True):
    """The weights that an operator has set at a route, by pool."""

    route: str
    weights: dict[str, _Share]
    by: str = ""
    at: float = 0.0


class Registered(Part, frozen=True, kw_only=True):
    """An upstream that is there until `until`, in seconds since the epoch; `entry` is as in UPSTREAMS.
    `by_app`: it has registered itself."""

    pool: str
    entry: str
    until: float
    by_app: bool


class ReadOnlyRoute(Part, frozen=True, kw_only=True):
    """A route that serves no changes until this time, in seconds since the epoch."""

    route: str
    until: float


class Learned(Part, frozen=True, kw_only=True):
    """What workers have learned of an upstream, 0 for nothing: the adaptive limit of all together, how long a
    request takes without a backlog, and its own timeout of idle connections."""

    pool: str
    id: str
    limit: _Count = 0
    service_ns: _Count = 0
    idle_timeout_ns: _Count = 0


class Ejected(Part, frozen=True, kw_only=True):
    """An upstream that is ejected, or on probation, at `address`. Of its ejection as an outlier, `left`
    seconds are left; it is the `in_a_row`th."""

    pool: str
    id: str
    address: str
    causes: tuple[str, ...]
    on_probation: bool = False
    left: float = 0.0
    in_a_row: int = 0


class Kept(Part, frozen=True, kw_only=True):
    """All of it. `revision` is that of what operators have set. `ejected` is for a program that goes on at
    once: a file has none, as it may be old."""

    version: int = VERSION
    revision: _Count = 0
    upstreams: tuple[KeptUpstream, ...] = ()
    splits: tuple[KeptSplit, ...] = ()
    registered: tuple[Registered, ...] = ()
    read_only: tuple[ReadOnlyRoute, ...] = ()
    learned: tuple[Learned, ...] = ()
    ejected: tuple[Ejected, ...] = ()


class _Versioned(LoosePart, frozen=True):
    """What all versions have."""

    version: int = VERSION


def version_of(data: bytes) -> int:
    """Whatever else is in it. Raises DecodeError."""
    return Decoder[_Versioned](_Versioned).decode(data).version


def decode(data: bytes) -> Kept:
    """What `spec.part.encode` has encoded. Raises DecodeError."""
    return Decoder[Kept](Kept).decode(data)
