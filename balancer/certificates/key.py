"""Private keys (L0): opened, and refused where clients or TLS itself would refuse them."""

from collections.abc import Sequence
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from balancer.certificates.pem import Block, Pem
from balancer.certificates.problem import CertificateError

LEAST_RSA_BITS = 2048
LEAST_EC_BITS = 256
PASSWORD_SETTING = "TLS__PASSWORD_FILE"

Key: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
_KINDS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)


def only_key(pem: Pem, blocks: Sequence[Block], remedy: str) -> Block:
    """The private key among the blocks of `pem`; `remedy` is for a file that has a certificate only. Raises
    CertificateError if there is not exactly one key."""
    keys = [block for block in blocks if block.is_key]
    if len(keys) == 1:
        return keys[0]
    if keys:
        raise CertificateError(pem.where, f"holds {len(keys)} private keys; keep that of the certificate")
    kinds = {block.kind for block in blocks}
    if "PUBLIC KEY" in kinds:
        text = "holds a public key, not the private one; name the file that was made with the request"
    elif any(block.is_certificate for block in blocks):
        text = f"holds a certificate, but no private key; {remedy}"
    else:
        text = f"holds {', '.join(sorted(kinds))}, but no private key; name the key's file"
    raise CertificateError(pem.where, text)


def is_encrypted(block: Block) -> bool:
    """Whether a key needs a password: in PKCS#8, or in the older form with header lines (RFC 1421)."""
    return block.kind.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block.text


def opened(where: str, block: Block, password: bytes | None, *, may_be_encrypted: bool = True) -> Key:
    """The key, decrypted if need be. `may_be_encrypted`: there is a setting for its password. Raises
    CertificateError."""
    encrypted = is_encrypted(block)
    if encrypted and password is None:
        setting = f"name a file with its password in {PASSWORD_SETTING}, or " if may_be_encrypted else ""
        raise CertificateError(where, f"is encrypted; {setting}decrypt it (openssl pkey)")
    if block.kind == "OPENSSH PRIVATE KEY":
        text = "holds an OpenSSH key, which TLS does not use; name the key that the certificate was made for"
        raise CertificateError(where, text)
    try:
        key = serialization.load_pem_private_key(block.text, password if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            text = f"is encrypted, and the password of {PASSWORD_SETTING} does not open it; correct that file"
        else:
            text = (
                "holds a damaged key; copy it again: openssl pkey -noout -check -in FILE says if it is whole"
            )
        raise CertificateError(where, text) from None
    if not isinstance(key, _KINDS):
        raise CertificateError(where, f"is a key of a kind that TLS does not use; {_MAKE_NEW}")
    _refuse_weak(where, key)
    return key


_MAKE_NEW = "make a new key (ECDSA P-256, or RSA with 2048 bits) and let a certificate be issued for it"


def _refuse_weak(where: str, key: Key) -> None:
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        kind, least = f"RSA with {key.key_size} bits", LEAST_RSA_BITS
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size < LEAST_EC_BITS:
        kind, least = f"ECDSA with {key.key_size} bits", LEAST_EC_BITS
    else:
        return
    raise CertificateError(where, f"is too weak a key ({kind}, the least is {least}); {_MAKE_NEW}")


def plain_text(key: Key) -> bytes:
    """The key as PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
