"""The base of specs and messages (L1): frozen values that cross a process boundary as strictly decoded JSON.

They are msgspec structs, not dataclasses: docs/decisions/0002-msgspec-structs.md has the measurements.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

from balancer.errors import BalancerError


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a spec or message. A missing or unknown field or a wrong type is a decoding error that names
    its path."""


class LoosePart(msgspec.Struct, frozen=True):
    """The same, but what it does not know is left out."""


Bounds = msgspec.Meta  # of a number in a part


class DecodeError(BalancerError):
    """The data is not JSON."""


class ShapeError(DecodeError):
    """The data is JSON, but does not fit the type. The text names the problem and its path."""


ValueT = TypeVar("ValueT")
PartT = TypeVar("PartT", bound=Part)
_ENCODER: Final = msgspec.json.Encoder()


def encode(part: Part) -> bytes:
    """Returns JSON on one line; bytes are base64."""
    return _ENCODER.encode(part)


def encode_plain(part: Part) -> Any:
    """Returns dicts, lists and plain values, for display."""
    return msgspec.to_builtins(part)


class Decoder(Generic[ValueT]):
    """Decodes the output of `encode`, for one type or a union of tagged types."""

    __slots__ = ("_decoder",)

    def __init__(self, kind: Any) -> None:
        """`kind` is the type that `decode` returns: Any, as mypy does not accept a union as `type[...]`."""
        self._decoder: msgspec.json.Decoder[ValueT] = msgspec.json.Decoder(kind)

    def decode(self, data: bytes) -> ValueT:
        """Raises DecodeError, or its subclass ShapeError."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise ShapeError(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DecodeError(str(error)) from None


def replaced(part: PartT, **changes: Any) -> PartT:
    """A copy of `part` with `changes` applied; their types are not checked."""
    return msgspec.structs.replace(part, **changes)
