"""The bodies of changes (L6), decoded strictly. Their schemas are in the OpenAPI document."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
import orjson
from msgspec import UNSET, Meta, UnsetType

from balancer.admin.answers import BadRequestError
from balancer.admin.explained import MOST_WATCH
from balancer.admin.view import MOST_READ_ONLY, MOST_TTL
from balancer.config.shares import MOST_WEIGHT as MOST_SHARE
from balancer.config.upstream_spec import MAX_WEIGHT
from balancer.upstreams.state import AdminState

_LONGEST_QUOTE = 100


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with at least one field, and known ones only."""

    EXAMPLE: ClassVar[str]
    WRONG: ClassVar[Mapping[str, str]]  # field -> what to say of a wrong value, after its name and the value


class UpstreamPatch(Body, frozen=True):
    """What is to change of an upstream: its admin state, its weight, or both."""

    EXAMPLE = '{"admin_state": "draining"} or {"weight": 3}'
    WRONG = {
        "admin_state": f"is not known; write {', '.join(AdminState)}",
        "weight": f"is not a whole number from 1 to {MAX_WEIGHT}",
    }

    admin_state: AdminState | UnsetType = UNSET
    weight: Annotated[int, Meta(ge=1, le=MAX_WEIGHT)] | UnsetType = UNSET


class NewUpstream(Body, frozen=True):
    """An upstream by IP address, written like an entry of UPSTREAMS; with a time to live in seconds, after
    which it is dropped unless this is sent again."""

    EXAMPLE = '{"upstream": "10.0.0.9:8000"}'
    EXAMPLE_OF_APPS: ClassVar[str] = '{"upstream": "10.0.0.9:8000", "ttl": 30}'
    WRONG = {
        "upstream": f"is not text; write {EXAMPLE}",
        "ttl": f"is not a whole number of seconds from 1 to {MOST_TTL}",
    }

    upstream: Annotated[str, Meta(examples=["10.0.0.9:8000?weight=2"])]
    ttl: Annotated[int, Meta(ge=1, le=MOST_TTL)] | UnsetType = UNSET


class RoutePatch(Body, frozen=True):
    """For how many seconds a route serves no changes; 0 ends it."""

    EXAMPLE = '{"read_only": 60}'
    WRONG = {"read_only": f"is not a number of seconds from 0 to {MOST_READ_ONLY:g}; write {EXAMPLE}"}

    read_only: Annotated[float, Meta(ge=0, le=MOST_READ_ONLY)]


class ExplainOrder(Body, frozen=True):
    """Requests to explain for some seconds, 0 to stop. All that is named must be so: a prefix of the path, a
    host or `*.example.com`, a method, the client's address or network, a route."""

    EXAMPLE = '{"path": "/api", "seconds": 60}'
    WRONG = {
        "path": "is not a path; write /api",
        "host": "is not a name; write shop.example or *.shop.example",
        "method": "is not a method; write GET",
        "client": "is not text; write 192.0.2.7 or 192.0.2.0/24",
        "route": "is not text; write a route's name",
        "seconds": f"is not a number of seconds from 0 to {MOST_WATCH:g}; write 60",
    }

    path: Annotated[str, Meta(pattern="^(/[!-~]{0,1000})?$")] = ""
    host: Annotated[str, Meta(pattern="^((\\*\\.)?[A-Za-z0-9._-]{1,250})?$")] = ""
    method: Annotated[str, Meta(pattern="^[A-Za-z-]{0,32}$")] = ""
    client: Annotated[str, Meta(max_length=64)] = ""
    route: Annotated[str, Meta(max_length=128)] = ""
    seconds: Annotated[float, Meta(ge=0, le=MOST_WATCH)] = 60.0


class ReloadOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`dry_run`: only say what would change. `settings`: the text of a settings file to look at instead of
    the present one, in a dry run only."""

    EXAMPLE: ClassVar[str] = '{}, {"dry_run": true}, or {"dry_run": true, "settings": "upstreams: app1:8000"}'

    dry_run: bool = False
    settings: str | None = None


class NoOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


Share = Annotated[int, Meta(ge=0, le=MOST_SHARE)]  # the weight of a side
Shares = Annotated[dict[str, Share], Meta(min_length=1)]  # by pool


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a change of a split must hold: for `hold` seconds, without one of the conditions in `abort_if`."""

    hold: float
    abort_if: str


class SplitPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New weights of sides, by pool, that are taken back at a breach of the gate."""

    weights: Shares
    gate: Gate | None = None


BodyT = TypeVar("BodyT", bound=Body)


def decoded(body: bytes, kind: type[BodyT]) -> BodyT:
    """The body as a `kind`. Raises BadRequestError, which names the field, the value and the remedy."""
    try:
        found = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequestError(_mistake(json_object(body, kind.EXAMPLE), kind)) from None
    json_object(body, kind.EXAMPLE)  # an object without fields asks for nothing
    return found


def json_object(body: bytes, example: str) -> dict[str, Any]:
    """The JSON object in `body`, which has at least one field; `example` is one for the client."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not given:
        raise BadRequestError(f"the body has the wrong form; write {example}")
    return given


def _mistake(given: Mapping[str, Any], kind: type[Body]) -> str:
    """Why an object is not a `kind`."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name in given:
        if name not in fields:
            return f"unknown field {quoted(name)}; known: {', '.join(fields)}"
    for name, value in given.items():
        try:
            msgspec.convert(value, fields[name])
        except msgspec.ValidationError:
            return f"{name} {quoted(value)} {kind.WRONG[name]}"
    return f"the body has the wrong form; write {kind.EXAMPLE}"


def quoted(value: object) -> str:
    """A value for a message, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
