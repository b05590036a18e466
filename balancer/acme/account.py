"""The account at an authority (L0): made with the first order, then used again."""

from dataclasses import dataclass, replace

from acme import errors, messages
from acme.client import ClientV2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from josepy.jwk import JWKEC

_GONE = "accountDoesNotExist"  # RFC 8555 section 6.7


@dataclass(frozen=True, slots=True)
class Account:
    """`key` is PEM. `url` is "" until the authority has given one; `email` is what it knows, "" for none."""

    key: bytes
    url: str = ""
    email: str = ""

    @property
    def jwk(self) -> JWKEC:
        """Its key, for signatures. Raises ValueError for a damaged one."""
        key = load_pem_private_key(self.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("not a key of the kind that is made here")
        return JWKEC(key=key)


def new_account() -> Account:
    """One that no authority knows yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Account(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def known(client: ClientV2, account: Account, email: str) -> Account:
    """The account as the authority knows it, with this e-mail address. Raises the library's errors."""
    if account.url:
        client.net.account = _resource(account.url)
        if account.email == email:
            return account
        try:
            return _with_email(client, account, email)
        except messages.Error as error:
            if not is_gone(error):
                raise
    return registered(client, account, email)


def is_gone(error: messages.Error) -> bool:
    """Whether the authority does not know the account, such as one for tests that was started anew."""
    return error.code == _GONE


def registered(client: ClientV2, account: Account, email: str) -> Account:
    """Register it; that changes nothing if it was before. Raises the library's errors."""
    client.net.account = None
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        url = client.new_account(wanted).uri
    except errors.ConflictError as error:  # its answer to a key that it knows
        url = error.location
    client.net.account = _resource(url)
    return replace(account, url=url, email=email)


def _with_email(client: ClientV2, account: Account, email: str) -> Account:
    contact = (f"mailto:{email}",) if email else ()
    resource = _resource(account.url)
    client.update_registration(resource, messages.Registration(contact=contact))
    client.net.account = resource
    return replace(account, email=email)


def _resource(url: str) -> messages.RegistrationResource:
    return messages.RegistrationResource(uri=url, body=messages.Registration())
