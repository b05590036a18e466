"""Specs as bytes: encoding round-trips, and any mismatch is an error with its path."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from balancer.spec.part import DecodeError, Decoder, ShapeError, encode, encode_plain, replaced
from balancer.spec.worker import WorkerSpec
from tests.fakes.specs import pool_spec, worker_spec

FULL = worker_spec(
    pool_spec(
        policy_options={"a": 1, "b": 1.0, "c": True, "d": "text"},
        queue={"size": 5},
        adaptive={"enabled": True},
        outlier={"enabled": True},
        sticky={"secret": "grün"},
    ),
    pool_spec("static"),
    timeouts={"connect": 0},
    trusted_proxies=["10.0.0.0/8"],
)
DECODER = Decoder[WorkerSpec](WorkerSpec)
Break: TypeAlias = Callable[[Any], object]


def test_an_encoded_spec_is_decoded_to_itself() -> None:
    again = DECODER.decode(encode(FULL))
    assert again == FULL
    assert [type(value) for _, value in again.pools[0].policy.options] == [int, float, bool, str]


def test_an_encoded_spec_is_one_line() -> None:
    assert b"\n" not in encode(worker_spec(pool_spec(hash_key="header:a\nb")))


BROKEN: dict[str, tuple[Break, str]] = {
    "unknown": (lambda it: it.update(colour="red"), "unknown field `colour`"),
    "unknown, deep": (
        lambda it: it["pools"][1]["retry"].update(colour=1),
        "unknown field `colour` - at `$.pools[1].retry`",
    ),
    "missing": (lambda it: it.pop("via"), "missing required field `via`"),
    "missing, deep": (
        lambda it: it["listener"]["timeouts"].pop("patience_ns"),
        "missing required field `patience_ns` - at `$.listener.timeouts`",
    ),
    "text for a number": (
        lambda it: it["listener"]["limits"].update(header_count="200"),
        "Expected `int`, got `str` - at `$.listener.limits.header_count`",
    ),
    "a fraction for a whole number": (
        lambda it: it["pools"][0]["keepalive"].update(max_idle=1.5),
        "Expected `int`, got `float` - at `$.pools[0].keepalive.max_idle`",
    ),
    "a number for a switch": (
        lambda it: it["pools"][0].update(panic=1),
        "Expected `bool`, got `int` - at `$.pools[0].panic`",
    ),
    "null": (lambda it: it.update(drain=None), "Expected `float`, got `null` - at `$.drain`"),
    "no such level": (lambda it: it.update(log_level="loud"), "Invalid enum value 'loud' - at `$.log_level`"),
    "no bytes": (
        lambda it: it["pools"][0]["sticky"].update(secret="?"),
        "Invalid base64 encoded string - at `$.pools[0].sticky.secret`",
    ),
    "an option that is a list": (
        lambda it: it["pools"][0]["policy"]["options"].append(["e", []]),
        "Expected `bool | int | float | str`, got `array`",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mismatch_is_an_error_with_its_path(case: str) -> None:
    change, text = BROKEN[case]
    tree = json.loads(encode(FULL))
    change(tree)
    with pytest.raises(ShapeError) as caught:
        DECODER.decode(json.dumps(tree).encode())
    assert text in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"via":"\xff"}'])
def test_invalid_json_is_another_error(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        DECODER.decode(data)
    assert not isinstance(caught.value, ShapeError)


def test_a_spec_is_frozen_and_a_changed_copy_differs() -> None:
    with pytest.raises(AttributeError):
        FULL.via = "other"  # type: ignore[misc]  # the assignment must fail
    other = replaced(FULL, via="other")
    assert (other.via, other.pools) == ("other", FULL.pools)
    assert other != FULL


def test_a_spec_is_shown_as_plain_data() -> None:
    assert encode_plain(replaced(FULL.access_log, fields=("time",))) == {
        "enabled": True,
        "sample": 1.0,
        "fields": ("time",),
        "format": "json",
    }
