"""What the admin API can be asked (L6): the form of the table in `operations`, from which its routes and its
OpenAPI document are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from balancer.admin.answers import Handler

TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter; `schema` is JSON Schema."""

    name: str
    schema: Mapping[str, Any]
    says: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path.

    `answers` is the record in the body of a 200, or a media type; `or_else` are the media types of its other
    forms, and `also` further answers by status. `takes` are the forms of the body. `refuses` are the statuses
    of refusals besides those that any request can get.
    With `is_conditional` answers have the revision of what operators have set in ETag, and a change takes it
    in If-Match.
    """

    method: str
    path: str
    handler: Handler
    says: str
    answers: Any
    query: tuple[Parameter, ...] = ()
    takes: tuple[Any, ...] = ()
    refuses: tuple[int, ...] = ()
    also: Mapping[int, Any] = field(default_factory=dict)
    or_else: tuple[str, ...] = ()
    is_conditional: bool = False

    @property
    def is_change(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"
