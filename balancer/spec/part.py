"""What specs and messages are made of (L1): frozen values that cross a process boundary as JSON, strictly.

msgspec's structs rather than dataclasses: docs/decisions/0002-msgspec-structs.md has what was measured.
"""

from typing import Any, Generic, TypeVar

import msgspec

from balancer.errors import BalancerError


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a spec or of a message. Where one is decoded, a field that is missing, unknown or of another
    type is an error that names its path."""


class DecodeError(BalancerError):
    """What was to be decoded is not JSON."""


class ShapeError(DecodeError):
    """It is JSON, but does not fit the type. The text says what is wrong, and at which path."""


ValueT = TypeVar("ValueT")
PartT = TypeVar("PartT", bound=Part)
_ENCODER = msgspec.json.Encoder()


def encode(part: Part) -> bytes:
    """As JSON, on one line; bytes are base64."""
    return _ENCODER.encode(part)


def encode_plain(part: Part) -> Any:
    """As dicts, lists and plain values, for those who show it to people."""
    return msgspec.to_builtins(part)


class Decoder(Generic[ValueT]):
    """Reads what `encode` has written, of one type or of a union of tagged ones."""

    __slots__ = ("_decoder",)

    def __init__(self, kind: Any) -> None:
        """`kind` is what `decode` gives; a union cannot be told to mypy as a type."""
        self._decoder: msgspec.json.Decoder[ValueT] = msgspec.json.Decoder(kind)

    def decode(self, data: bytes) -> ValueT:
        """Raises DecodeError, ShapeError among them."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise ShapeError(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DecodeError(str(error)) from None


def replaced(part: PartT, **changes: Any) -> PartT:
    """`part` with other values; their types are not checked."""
    return msgspec.structs.replace(part, **changes)
