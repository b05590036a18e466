"""What a route answers by itself (L1): a redirect, or a fixed response."""

import re
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from balancer.config.group import Group
from balancer.config.route_edits import EditedFields, check_target
from balancer.config.types import Count
from balancer.config.written import plain

MOST_BODY = 64 * 1024
_LOCATION = re.compile(r"(?:https?://|\$scheme://|/(?![/\\])|\$uri|\$path)[\x21-\x7e]*")
_OVER_TLS = "https://$host$uri"
_REDIRECTS = (301, 302, 303, 307, 308)
_WITHOUT_BODY = (204, 205, 304)
_PART = r"[!#%&'*+\-.^_`|~0-9A-Za-z]+"  # without $, which begins a variable
_MEDIA_TYPE = re.compile(rf"{_PART}/{_PART}(?:[ \t]*;[\x20-\x23\x25-\x7e]*)?")
_NAMES_OF_FILES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


def _check_location(text: str) -> str:
    if text == "https":
        return text
    if _LOCATION.fullmatch(text) is None:
        raise ValueError("is not a place to go to; write https, https://www.example.com$uri, or /path")
    return check_target(text)


def _parse_status(value: object) -> object:
    text = plain(value)
    if text not in map(str, _REDIRECTS):
        raise ValueError("is not the status of a redirect; write 301, 302, 303, 307 or 308")
    return int(text)


def _parse_redirect(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class RedirectSettings(Group):
    """A redirect instead of a pool."""

    to: Annotated[str, AfterValidator(_check_location)] = Field(
        description="Where to: `https` = the same URL over TLS, for requests that do not have it, or a URL "
        "with variables, such as `https://www.example.com$uri`; `$uri` is path and query."
    )
    status: Annotated[Literal[0, 301, 302, 303, 307, 308], BeforeValidator(_parse_status)] = Field(
        default=0, description="The status; if unset, 308 to https, else 302."
    )

    @property
    def only_adds_tls(self) -> bool:
        """Whether it leads a request that came over TLS to its own URL."""
        return self.to in ("https", _OVER_TLS)

    @property
    def location(self) -> str:
        """The Location, with variables."""
        return _OVER_TLS if self.to == "https" else self.to

    @property
    def chosen_status(self) -> int:
        """The status to send."""
        return self.status or (308 if self.to == "https" else 302)


Redirect = Annotated[RedirectSettings | None, BeforeValidator(_parse_redirect)]


def _check_type(text: str) -> str:
    if text and _MEDIA_TYPE.fullmatch(text) is None:
        raise ValueError("is no media type; write text/html, or text/html; charset=utf-8")
    return text


def _parse_respond(value: object) -> object:
    if plain(value).isdigit():
        return {"status": value}
    if isinstance(value, str):
        raise ValueError('is no response; write a status, or {status: 503, text: "Back soon."}')
    return value


class RespondSettings(Group):
    """A fixed response instead of a pool."""

    status: Count = Field(default=200, ge=200, le=599, description="The status.")
    text: str = Field(default="", description="The body.")
    file: str = Field(
        default="", description="File with the body, up to 64 KiB; read at start and by each reload."
    )
    content_type: Annotated[str, AfterValidator(_check_type)] = Field(
        default="", description="Content-Type; if unset, by the file's name, else plain text."
    )
    headers: EditedFields = Field(
        default={}, description="Further header fields; values may have variables, such as `$request_id`."
    )

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        names = {name.lower() for name in self.headers}
        has_body = bool(self.text or self.file)
        if self.text and self.file:
            raise ValueError("has a text and a file; keep one of them")
        if self.status in _WITHOUT_BODY and has_body:
            raise ValueError(f"has a body, which a {self.status} cannot have; remove it")
        if len(self.text.encode()) > MOST_BODY:
            raise ValueError("has a text of more than 64 KiB; let an app serve it")
        if "content-type" in names:
            raise ValueError("has Content-Type among its headers; write content_type")
        if self.content_type and not has_body:
            raise ValueError("has a content_type, which has no effect without a body; remove it")
        if self.status in _REDIRECTS and "location" not in names:
            raise ValueError(f"has the status {self.status} without a Location; write redirect: {{to: ...}}")
        return self

    @property
    def chosen_type(self) -> str:
        """The Content-Type to send."""
        return self.content_type or _NAMES_OF_FILES.get(FilePath(self.file).suffix, _NAMES_OF_FILES[".txt"])

    def body(self) -> bytes:
        """The body. Raises ValueError for a file that cannot be sent."""
        if not self.file:
            return self.text.encode()
        try:
            body = _beginning(FilePath(self.file))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ValueError(f"cannot be read ({reason}); correct the path or mount the file") from None
        if len(body) > MOST_BODY:
            raise ValueError("is larger than 64 KiB; let an app serve it")
        return body


def _beginning(path: FilePath) -> bytes:
    """A file's first bytes, one more than are allowed. Raises OSError, and ValueError for what is no file:
    reading a pipe or a device may never end."""
    if "\0" in str(path) or (path.exists() and not path.is_file()):
        raise ValueError("is not a file; correct the path or mount the file")
    with path.open("rb") as file:
        return file.read(MOST_BODY + 1)


Respond = Annotated[RespondSettings | None, BeforeValidator(_parse_respond)]
