"""Settings of splits (L1): how the requests of a route are divided among pools, and what names a user."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from balancer.config.group import Group
from balancer.config.shares import MOST_WEIGHT
from balancer.config.types import MASK, Count, check_hash_key, check_token
from balancer.config.written import plain

MOST_SIDES = 16
OWN_COOKIE = "cookie"


def _check_key(key: str) -> str:
    if key == OWN_COOKIE:
        return key
    if key == "path" or (":" not in key and key != "client_ip"):
        raise ValueError("is not known; write cookie, header:NAME, cookie:NAME, query:NAME or client_ip")
    return check_hash_key(key)


def _check_secret(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() == MASK:
        raise ValueError("is the mask that replaces a secret in output; write the secret itself")
    return secret


class SplitSettings(Group):
    """What keeps a user on one side of a split route."""

    key: Annotated[str, AfterValidator(_check_key)] = Field(
        default=OWN_COOKIE,
        description="What names a user: `cookie`, the balancer's own, or `header:NAME`, `cookie:NAME`, "
        "`query:NAME` or `client_ip`. A request without it goes by its client's address.",
    )
    secret: Annotated[SecretStr, AfterValidator(_check_secret)] = Field(
        default=SecretStr(""),
        description="Secret of the hash, so that users cannot choose their side; the same for all instances.",
    )
    cookie: Annotated[str, AfterValidator(check_token)] = Field(
        default="balancer_split", min_length=1, description="Name of the balancer's own cookie."
    )


def parse_sides(value: object) -> object:
    """`stable:90|canary:10`, a mapping of pools to weights, or a list of `{pool, weight}`."""
    if isinstance(value, str):
        pairs = [part.rpartition(":") for part in value.split("|")]
        if not all(colon and pool.strip() for pool, colon, _ in pairs):
            raise ValueError("has a side without a weight; write stable:90|canary:10")
        sides = [(pool.strip(), weight.strip()) for pool, _, weight in pairs]
        _refuse_repeated([pool for pool, _ in sides])
        return dict(sides)
    if isinstance(value, list):
        if not all(isinstance(one, Mapping) and one.keys() == {"pool", "weight"} for one in value):
            raise ValueError("is no list of sides; write [{pool: stable, weight: 90}, ...]")
        _refuse_repeated([str(one["pool"]) for one in value])
        return {str(one["pool"]): one["weight"] for one in value}
    return value


def _refuse_repeated(pools: Sequence[str]) -> None:
    for pool, count in Counter(pools).items():
        if count > 1:
            raise ValueError(f"names {pool} twice; write each pool once")


def _parse_split(value: object) -> object:
    if value is None or isinstance(value, RouteSplit):
        return value
    if isinstance(value, Mapping) and "sides" in value:
        return value
    if isinstance(value, Mapping) and not value.keys().isdisjoint(("fallback", "keep")):
        raise ValueError("has pools beside fallback or keep; write sides: {stable: 90, canary: 10} for them")
    return {"sides": value}


def _read_sides(value: object) -> object:
    sides = parse_sides(value)
    if isinstance(sides, Mapping):
        for weight in sides.values():
            if re.fullmatch(r"[0-9.]+%?", plain(weight)) and not plain(weight).isdigit():
                raise ValueError(f"has a weight that is not whole ({weight}); write stable:90|canary:10")
    return sides


def _check_sides(sides: dict[str, int]) -> dict[str, int]:
    if not 2 <= len(sides) <= MOST_SIDES:
        raise ValueError(f"has {len(sides)} sides; write 2 to {MOST_SIDES}")
    if not any(sides.values()):
        raise ValueError("has no side with a weight above 0; give one of them a weight")
    return sides


Weight = Annotated[Count, Field(ge=0, le=MOST_WEIGHT)]


class RouteSplit(Group):
    """Several pools instead of one."""

    sides: Annotated[dict[str, Weight], AfterValidator(_check_sides), BeforeValidator(_read_sides)] = Field(
        description="Pools and their weights: `{stable: 90, canary: 10}`."
    )
    fallback: bool = Field(
        default=False,
        description="`true`: if no upstream of a side is eligible, its users go to the other sides; `false`: "
        "they get 503.",
    )
    keep: bool = Field(
        default=False,
        description="`true`: a side of weight 0 keeps the users it has, by the balancer's cookie; `false`: "
        "they move.",
    )


Split = Annotated[RouteSplit | None, BeforeValidator(_parse_split)]
