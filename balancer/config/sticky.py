"""Settings of sticky sessions (L1): the cookie that keeps a client at its upstream."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from balancer.config.durations import format_duration, parse_duration
from balancer.config.group import Group, MisfitError
from balancer.config.types import MASK, check_token, lower

_SESSION = "session"
_MOST_SECONDS = 400 * 24 * 3600  # browsers shorten longer ages to this (RFC 6265bis section 5.5)
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


def _parse_max_age(value: object) -> int:
    """Whole seconds, 0 for the browser's session."""
    if isinstance(value, str) and value.strip().lower() == _SESSION:
        return 0
    seconds = parse_duration(value)
    if seconds != int(seconds) or not 1 <= seconds <= _MOST_SECONDS:
        raise ValueError("is not a cookie age; write session, or whole seconds up to 9600h: 30m, 12h")
    return int(seconds)


def _check_path(path: str) -> str:
    if _PATH.fullmatch(path) is None:
        raise ValueError("is not a cookie path; write / or /shop, without semicolons")
    return path


def _check_domain(domain: str) -> str:
    if domain and (_DOMAIN.fullmatch(domain) is None or domain.rpartition(".")[2].isdigit()):
        raise ValueError("is not a cookie domain; write a name such as example.com, without a leading dot")
    return domain


def _check_secret(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() == MASK:
        raise ValueError("is the mask that replaces a secret in output; write the secret itself")
    return secret


MaxAge = Annotated[
    int,
    BeforeValidator(_parse_max_age),
    PlainSerializer(lambda age: format_duration(age) if age else _SESSION, when_used="json"),
]
CookieName = Annotated[str, AfterValidator(check_token)]


# The warning at start if stickiness is on without a secret.
NO_SECRET = (
    "BALANCER_STICKY__SECRET is not set: clients can guess an upstream's name or address from "
    "the sticky cookie, and choose an upstream; set a secret, the same for all instances, to "
    "prevent that"
)


class StickySettings(Group):
    """Sticky sessions: a client's requests go to the upstream that served it before, while it is healthy."""

    enabled: bool = Field(
        default=False, description="Use a cookie to send a client to the upstream that served it before."
    )
    cookie: CookieName = Field(
        default="balancer_sticky",
        min_length=1,
        description="Name of the balancer's cookie. Pools under POOLS that do not name their own add `_` and "
        "their name to it.",
    )
    secret: Annotated[SecretStr, AfterValidator(_check_secret)] = Field(
        default=SecretStr(""),
        description="Secret that keys the cookie's values, so that clients cannot choose their upstream; "
        "the same for all instances.",
    )
    max_age: MaxAge = Field(
        default=0,
        description="How long browsers keep the cookie, such as `12h`; `session` = until they are closed.",
    )
    secure: bool = Field(default=False, description="`Secure`: browsers send the cookie over TLS only.")
    http_only: bool = Field(default=True, description="`HttpOnly`: scripts in the page cannot read it.")
    same_site: Annotated[Literal["lax", "strict", "none"], BeforeValidator(lower)] = Field(
        default="lax", description="`SameSite`: `lax`, `strict` or `none`, which needs SECURE."
    )
    path: Annotated[str, AfterValidator(_check_path)] = Field(
        default="/", description="`Path`: the cookie is sent for this path and below."
    )
    domain: Annotated[str, AfterValidator(_check_domain)] = Field(
        default="",
        description="`Domain`: the cookie is sent to its subdomains as well. If unset, only "
        "to the host that set it.",
    )
    app_cookie: Annotated[str, AfterValidator(lambda name: check_token(name) if name else name)] = Field(
        default="",
        description="Use the app's own cookie, such as `JSESSIONID`, instead: its value gets a token in "
        "front, which the app does not see.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Raise MisfitError for settings that browsers would refuse, and for those without effect."""
        given = [name for name, field in type(self).model_fields.items()
                 if getattr(self, name) != field.default]  # fmt: skip
        if "enabled" not in self.model_fields_set and given:
            raise MisfitError(
                given[0],
                "has no effect while sticky sessions are off; set STICKY__ENABLED to true, or remove it",
            )
        if self.app_cookie:
            for name in ("cookie", "max_age", "secure", "http_only", "same_site", "path", "domain"):
                if name in given:
                    raise MisfitError(
                        name,
                        "applies to the balancer's own cookie, which STICKY__APP_COOKIE "
                        f"({self.app_cookie}) replaces; remove one of them",
                    )
        if self.same_site == "none" and not self.secure:
            raise MisfitError(
                "same_site", "is refused by browsers without Secure; set STICKY__SECURE to true"
            )
        prefixed = self.cookie.lower()  # browsers ignore case here
        if prefixed.startswith(("__host-", "__secure-")) and not self.secure:
            raise MisfitError("cookie", "is refused by browsers without Secure; set STICKY__SECURE to true")
        if prefixed.startswith("__host-") and (self.path != "/" or self.domain):
            raise MisfitError(
                "cookie",
                "is refused by browsers with a path or a domain; remove STICKY__PATH and STICKY__DOMAIN, or "
                "choose another name",
            )
        return self
