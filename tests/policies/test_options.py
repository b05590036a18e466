"""A policy's options: declared by its signature, checked, described in plain words."""

from collections.abc import Callable
from typing import Any

import pytest

from balancer.policies.options import DeclarationError, Option, OptionError, declared, values


def typed(context: object, *, size: int = 3, ratio: float = 1, strict: bool = False, mode: str = "a") -> None:
    """All four types."""


def none_at_all(context: object) -> None:
    """No options."""


def positional(context: object, size: int = 3) -> None:
    """Its option can be given by position as well."""


def open_ended(context: object, *more: int, size: int = 3, **others: int) -> None:
    """Only named parameters are options."""


def postponed(context: "object", size: "int" = 3) -> None:
    """As with `from __future__ import annotations`."""


OPTIONS = (
    Option("size", int, 3),
    Option("ratio", float, 1.0),
    Option("strict", bool, False),
    Option("mode", str, "a"),
)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        pytest.param(typed, OPTIONS, id="typed"),
        pytest.param(none_at_all, (), id="none"),
        pytest.param(positional, OPTIONS[:1], id="positional"),
        pytest.param(open_ended, OPTIONS[:1], id="open_ended"),
        pytest.param(postponed, OPTIONS[:1], id="postponed"),
    ],
)
def test_options_are_declared_by_the_signature(
    factory: Callable[..., object], expected: tuple[Option, ...]
) -> None:
    assert declared(factory) == expected


def no_default(context: object, *, size: int) -> None: ...
def only_by_position(context: object, size: int = 3, /) -> None: ...
def of_another_type(context: object, size: list[int] | None = None) -> None: ...
def not_annotated(context: object, size=3) -> None: ...  # type: ignore[no-untyped-def]  # on purpose
def default_of_another_type(context: object, size: int = "3") -> None: ...  # type: ignore[assignment]  # on purpose
def no_context() -> None: ...
def context_by_keyword(*, context: object) -> None: ...


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        pytest.param(no_default, "has the option size without a default; give it one", id="no_default"),
        pytest.param(
            only_by_position,
            "has the option size, which has no name to callers; move the /",
            id="by_position",
        ),
        pytest.param(
            of_another_type, "has the option size; annotate it as int, float, bool or str", id="another_type"
        ),
        pytest.param(
            not_annotated, "has the option size; annotate it as int, float, bool or str", id="not_annotated"
        ),
        pytest.param(
            default_of_another_type,
            "has the option size with a default that is not a whole number",
            id="default_of_another_type",
        ),
        pytest.param(no_context, "does not take the context; make it the first parameter", id="no_context"),
        pytest.param(
            context_by_keyword, "does not take the context; make it the first parameter", id="by_keyword"
        ),
        pytest.param(type, "has no signature that could be read; wrap it in a function", id="builtin"),
    ],
)
def test_invalid_signatures_are_refused(factory: Callable[..., object], text: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declared(factory)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"size": 7, "ratio": 1.5, "strict": True, "mode": "b"}, id="all"),
        pytest.param({"ratio": 2}, id="a_whole_number_is_a_number"),
    ],
)
def test_valid_values_are_accepted(given: dict[str, Any]) -> None:
    taken = values("p", OPTIONS, given)
    assert taken == given
    assert all(type(taken[each.name]) is each.type for each in OPTIONS if each.name in taken)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param({"sise": 1}, "has sise, which p does not take; did you mean size?", id="near_a_name"),
        pytest.param(
            {"x": 1}, "has x, which p does not take; it takes size, ratio, strict, mode", id="unknown"
        ),
        pytest.param({"size": 1.5}, "has a size that is not a whole number; the default is size=3", id="int"),
        pytest.param(
            {"size": True}, "has a size that is not a whole number; the default is size=3", id="bool_for_int"
        ),
        pytest.param(
            {"ratio": "1"}, "has a ratio that is not a number; the default is ratio=1.0", id="float"
        ),
        pytest.param(
            {"ratio": False},
            "has a ratio that is not a number; the default is ratio=1.0",
            id="bool_for_float",
        ),
        pytest.param(
            {"ratio": float("nan")}, "has a ratio that is not finite; the default is ratio=1.0", id="nan"
        ),
        pytest.param(
            {"ratio": 10**400}, "has a ratio that is not finite; the default is ratio=1.0", id="too_large"
        ),
        pytest.param(
            {"strict": 1}, "has a strict that is not true or false; the default is strict=false", id="bool"
        ),
        pytest.param({"mode": None}, "has a mode that is not text; the default is mode=a", id="null"),
    ],
)
def test_invalid_values_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        values("p", OPTIONS, given)
    assert str(caught.value) == text


def test_a_policy_without_options_accepts_none() -> None:
    with pytest.raises(OptionError, match="is not empty, but p takes no options; remove it"):
        values("p", (), {"size": 1})
