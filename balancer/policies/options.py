"""A policy's options: declared by its factory's signature, checked against the settings."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

_TYPES: Final[dict[str, type]] = {"int": int, "float": float, "bool": bool, "str": str}
_WORDS: Final[dict[type, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


class DeclarationError(Exception):
    """A factory's signature does not declare options. The text ends a sentence that begins with its name."""


class OptionError(Exception):
    """A policy refuses its options. The text ends a sentence that begins with all the options given."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `type` is int, float, bool or str."""

    name: str
    type: type
    default: Any

    def __str__(self) -> str:
        return f"{self.name}={str(self.default).lower() if self.type is bool else self.default}"


def declared(factory: Callable[..., object]) -> tuple[Option, ...]:
    """The keyword parameters of `factory` after its first, the context. Raises DeclarationError."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        raise DeclarationError("has no signature that could be read; wrap it in a function") from None
    if not parameters or parameters[0].kind in (parameters[0].KEYWORD_ONLY, parameters[0].VAR_KEYWORD):
        raise DeclarationError("does not take the context; make it the first parameter")
    return tuple(
        _option(each) for each in parameters[1:] if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    )


def _option(parameter: inspect.Parameter) -> Option:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise DeclarationError(f"has the option {parameter.name}, which has no name to callers; move the /")
    if parameter.default is parameter.empty:
        raise DeclarationError(f"has the option {parameter.name} without a default; give it one")
    # A string if the module has `from __future__ import annotations`.
    annotation, default = parameter.annotation, parameter.default
    found = _TYPES.get(annotation) if isinstance(annotation, str) else annotation
    if not isinstance(found, type) or found not in _WORDS:
        raise DeclarationError(f"has the option {parameter.name}; annotate it as int, float, bool or str")
    if found is float and type(default) is int:
        default = float(default)
    if type(default) is not found:
        raise DeclarationError(f"has the option {parameter.name} with a default that is not {_WORDS[found]}")
    return Option(parameter.name, found, default)


def values(name: str, options: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` as keyword arguments for the factory of the policy `name`. Raises OptionError."""
    known = {each.name: each for each in options}
    if given and not known:
        raise OptionError(f"is not empty, but {name} takes no options; remove it")
    result = {}
    for key, value in given.items():
        if key not in known:
            close = get_close_matches(key, known, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
            raise OptionError(f"has {key}, which {name} does not take; {remedy}")
        result[key] = _value(known[key], value)
    return result


def _value(option: Option, value: object) -> object:
    if option.type is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 1000 else math.inf
    # By exact type: True is an int in Python, but not in settings.
    if type(value) is not option.type:
        raise OptionError(f"has a {option.name} that is not {_WORDS[option.type]}; the default is {option}")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"has a {option.name} that is not finite; the default is {option}")
    return value
