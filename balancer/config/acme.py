"""The settings of automatic certificates (L1): for which domains, by which authority, and where to keep
them."""

import os
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from balancer.config.address import ascii_name, is_ip
from balancer.config.group import Group, MisfitError
from balancer.config.types import split_list

ROUTES = "routes"  # the word for all exact hosts of the routes
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
MOST_DOMAINS = 128  # each has a certificate of its own, and all certificates are one message to each worker
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_EMAIL = re.compile(r"[^\s@,;:<>\"]+@[^\s@,;:<>\"]+")


def _parse_domains(value: object) -> tuple[str, ...]:
    items = split_list(value)
    if not isinstance(items, list | tuple):
        raise ValueError("is not a list; write shop.example,www.shop.example, or routes")
    domains = [_parse_domain(item) for item in items]
    if len(domains) > MOST_DOMAINS:
        raise ValueError(f"names {len(domains)} domains; there is room for {MOST_DOMAINS}: name fewer")
    return tuple(dict.fromkeys(domains))


def _parse_domain(item: object) -> str:
    if not isinstance(item, str):
        raise ValueError("has an item that is not text; write names such as shop.example")
    name = item.strip().lower().removesuffix(".")
    if "://" in name:
        raise ValueError(f"has a URL ({item}); write its host: {urlsplit(name).hostname or 'shop.example'}")
    if name.startswith("*."):
        text = f"has a wildcard ({item}), which needs DNS-01: use files"
        raise ValueError(f"{text} (TLS__CERTIFICATES, from certbot or lego), or name each host")
    if is_ip(name.strip("[]")):
        raise ValueError(f"has an IP address ({item}); certificates are ordered for names only: write one")
    if not name.isascii():
        raise ValueError(f"has a name that is not ASCII; write {ascii_name(name) or 'the form that DNS has'}")
    if not _is_domain(name) and all(map(_is_domain, parts := re.split(r"[\s;]+", name))):
        raise ValueError(f"has several names in one item; put commas between them: {','.join(parts)}")
    if not _is_domain(name):
        raise ValueError(f"has an item that is not a host name ({item}); write one such as shop.example")
    return name


def _is_domain(name: str) -> bool:
    """Whether it is a host name, no wildcard and no IP address."""
    return _DOMAIN.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()


def _check_email(text: str) -> str:
    address = text.removeprefix("mailto:")
    if address and _EMAIL.fullmatch(address) is None:
        raise ValueError("is not an e-mail address; write one, such as ops@shop.example")
    return address


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url or not text.isprintable() or " " in text:
        raise ValueError(f"is not an https URL; write that of an ACME directory, such as {LETS_ENCRYPT}")
    if "@" in parts.netloc:
        raise ValueError("has a user name in it, which ACME does not use and logs would show; remove it")
    return text


Domains = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_domains),
    PlainSerializer(list, when_used="json"),
]


class AcmeSettings(Group):
    """Automatic certificates. They are on if there are domains."""

    domains: Domains = Field(
        default=(),
        description="Host names for which certificates are ordered and renewed (ACME), such as "
        "`shop.example, www.shop.example`; `routes` stands for all hosts that ROUTES names, those with `*.` "
        "left out. Each has a certificate of its own. Those of TLS__CERTIFICATES come first.",
    )
    email: Annotated[str, AfterValidator(_check_email)] = Field(
        default="", description="Where the authority may write to about problems. If unset, it is given none."
    )
    directory_url: Annotated[str, AfterValidator(_check_url)] = Field(
        default=LETS_ENCRYPT,
        description="The ACME directory of the authority: Let's Encrypt, or for example step-ca's "
        "`https://ca.internal/acme/acme/directory`. Its terms of service are agreed to.",
    )
    storage: str = Field(
        default="",
        description="Directory for the account, keys and certificates, on a volume; needed with "
        "TLS__ACME__DOMAINS. Instances may share it.",
    )
    ca: str = Field(
        default="",
        description="File with the authorities (PEM) by which TLS__ACME__DIRECTORY_URL itself is trusted. If "
        "unset, public ones.",
    )

    @property
    def folder(self) -> str:
        """That of the authority in the storage, as an absolute path. Two URLs never have the same one."""
        host = re.sub(r"[^a-z0-9.-]", "_", urlsplit(self.directory_url).netloc.lower())
        digest = sha256(self.directory_url.encode()).hexdigest()[:8]
        return os.path.join(os.path.abspath(self.storage), f"{host}-{digest}")

    @property
    def is_on(self) -> bool:
        """Whether certificates are ordered."""
        return bool(self.domains)

    def named(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """The domains; `hosts` are those of the routes, of which exact ones are meant by `routes`."""
        exact = [host for host in hosts if _is_domain(host)]
        meant = (each for domain in self.domains for each in (exact if domain == ROUTES else [domain]))
        return tuple(dict.fromkeys(meant))

    @model_validator(mode="after")
    def _is_kept(self) -> Self:
        if self.domains and not self.storage:
            text = "needs TLS__ACME__STORAGE; set that to a directory on a volume, which outlives the process"
            raise MisfitError("domains", text)
        return self
