"""The settings of the TLS listener (L1): certificates, client certificates, and what plain HTTP gets."""

import re
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from balancer.config.acme import AcmeSettings
from balancer.config.address import Address, parse_listen
from balancer.config.group import Group, MisfitError
from balancer.config.pair_files import PairFiles, parse_pair
from balancer.config.types import MASK, Count, lower, split_list

_MAX_AGE = re.compile(r"max-age=(0|[1-9][0-9]{0,9})")
_HSTS_EXAMPLE = "max-age=31536000 (a year, in seconds), with ; includeSubDomains if all subdomains have HTTPS"
MOST_CERTIFICATES = 256  # all of them are one message to each worker
_OLD = ("1.0", "1.1", "1", "3", "3.0")


def _parse_pairs(value: object) -> tuple[PairFiles, ...]:
    items = split_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError("is not a list; write /run/site.pem:/run/site.key,/run/other.pem")
    if len(items) > MOST_CERTIFICATES:
        raise ValueError(
            f"names {len(items)} certificates; there is room for {MOST_CERTIFICATES}: name fewer"
        )
    pairs = tuple(map(parse_pair, items))
    named = [pair.certificate for pair in pairs]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"names {name} twice; keep one of them")
    return pairs


def _parse_version(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip().lower().removeprefix("tls").removeprefix("v")
    if text in _OLD:
        raise ValueError("is too old to be safe (RFC 8996), and not offered; write 1.2 or 1.3")
    return text


def _check_hsts(value: str) -> str:
    """A value of Strict-Transport-Security (RFC 6797 section 6.1), normalised; "" for none."""
    if value.lower() in ("off", "false", "no", "none", ""):
        return ""
    ages, flags = [], []
    for part in (each.strip() for each in value.split(";")):
        if (match := _MAX_AGE.fullmatch(part.lower().replace('"', ""))) is not None:
            ages.append(match[0])
        elif (
            flag := {"includesubdomains": "includeSubDomains", "preload": "preload"}.get(part.lower())
        ) is None:
            raise ValueError(f"is not a value of Strict-Transport-Security; write {_HSTS_EXAMPLE}")
        else:
            flags.append(flag)
    if len(ages) != 1:
        raise ValueError(f"does not say for how long; write {_HSTS_EXAMPLE}")
    return "; ".join([*ages, *sorted(set(flags))])


def _check_pem(text: SecretStr) -> SecretStr:
    if text.get_secret_value() == MASK:
        raise ValueError("is the mask that replaces a secret in output; write the PEM text itself")
    return text


Pairs = Annotated[
    tuple[PairFiles, ...],
    BeforeValidator(_parse_pairs),
    PlainSerializer(lambda pairs: [str(pair) for pair in pairs], when_used="json"),
]
ListenAddress = Annotated[
    Address,
    BeforeValidator(partial(parse_listen, example="0.0.0.0:8443")),
    PlainSerializer(str, when_used="json"),
]
PemText = Annotated[SecretStr, AfterValidator(_check_pem)]
Version = Annotated[Literal["1.2", "1.3"], BeforeValidator(_parse_version)]


class TlsSettings(Group):
    """The TLS listener. It is on if there is a certificate."""

    listen: ListenAddress = Field(
        default=Address("0.0.0.0", 8443),
        description="Address for clients that speak TLS, beside LISTEN, if there is a certificate.",
    )
    certificates: Pairs = Field(
        default=(),
        description="Files with PEM: `/run/site.pem:/run/site.key, /run/other.pem`, certificate (with its "
        "chain) and key, or one file with both. Clients choose by name (SNI); the first is for those that "
        "name no other. Changed files are taken up while it runs.",
    )
    certificate: PemText = Field(
        default=SecretStr(""),
        description="A certificate with its chain as PEM text, instead of a file; it comes before those of "
        "TLS__CERTIFICATES. `\\n` may stand for the ends of lines.",
    )
    key: PemText = Field(
        default=SecretStr(""),
        description="The key of TLS__CERTIFICATE as PEM text, if it is not in there too.",
    )
    password_file: str = Field(
        default="", description="File whose first line is the password of the keys that are encrypted."
    )
    min_version: Version = Field(default="1.2", description="The oldest version of TLS: `1.2` or `1.3`.")
    client_ca: str = Field(
        default="",
        description="File with the authorities (PEM) whose client certificates are accepted. If unset, "
        "clients are not asked for one.",
    )
    client_certificates: Annotated[Literal["required", "optional"], BeforeValidator(lower)] = Field(
        default="required",
        description="With TLS__CLIENT_CA: `required` = a client without a certificate cannot connect; "
        "`optional` = the app decides.",
    )
    redirect: bool = Field(
        default=False, description="Redirect requests on LISTEN to HTTPS, with TLS__PUBLIC_PORT."
    )
    hsts: Annotated[str, AfterValidator(_check_hsts)] = Field(
        default="",
        description="Value of `Strict-Transport-Security` in responses over TLS, such as `max-age=31536000`. "
        "Browsers then refuse plain HTTP for that time (seconds), so begin with a short one. If unset, none.",
    )
    public_port: Count = Field(
        default=443,
        ge=1,
        le=65535,
        description="The port at which clients reach the TLS listener, for redirects and X-Forwarded-Port.",
    )
    acme: AcmeSettings = AcmeSettings()

    @property
    def is_on(self) -> bool:
        """Whether there is a TLS listener."""
        return bool(self.certificates or self.certificate.get_secret_value() or self.acme.is_on)

    @property
    def files(self) -> list[str]:
        """The paths of all files that are read."""
        pairs = [path for pair in self.certificates for path in (pair.certificate, pair.key)]
        return list(dict.fromkeys(path for path in [*pairs, self.password_file, self.client_ca] if path))

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.key.get_secret_value() and not self.certificate.get_secret_value():
            raise MisfitError(
                "key", "is set without TLS__CERTIFICATE; set that to the certificate's PEM text"
            )
        return self
