"""Pairs of certificate and key: what is accepted, in which order it is served, and what is refused."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from balancer.certificates.pair import Pair, authorities, checked
from balancer.certificates.pem import Pem
from balancer.certificates.problem import CertificateError
from tests.fakes.certificates import NOW, Made, authority, key_pem, made, text_of

AT = NOW.timestamp()
SITE, KEY = "/run/site.pem", "/run/site.key"


@cache
def chain() -> tuple[Made, Made, Made, Made]:
    """Root, intermediate of the root, intermediate of that, leaf."""
    root = made("Root", days=900)
    first = made("First", root, days=900)
    second = made("Second", first, days=900)
    return root, first, second, made("site", second, names=("Shop.example", "*.shop.example"))


def pair(certificate: bytes, key: bytes | None, password: bytes | None = None, at: float = AT) -> Pair:
    return checked(Pem(SITE, certificate), None if key is None else Pem(KEY, key), password, at)


def refused(certificate: bytes, key: bytes | None, password: bytes | None = None) -> str:
    with pytest.raises(CertificateError) as caught:
        pair(certificate, key, password)
    return str(caught.value)


def subjects(pem: bytes) -> list[str]:
    return [
        each.subject.rfc4514_string().removeprefix("CN=") for each in x509.load_pem_x509_certificates(pem)
    ]


def test_a_pair_has_its_names_issuer_and_end() -> None:
    *_, second, leaf = chain()
    found = pair(leaf.pem + second.pem, leaf.key)
    assert found.names == ("shop.example", "*.shop.example")
    assert (found.issuer, found.warnings) == ("Second", ())
    assert found.not_after == (NOW + timedelta(days=90)).timestamp()


def test_addresses_are_names() -> None:
    leaf = authority().issue_cert("192.0.2.1", "2001:db8::1", "a.example")
    found = pair(text_of(leaf.cert_chain_pems[0]), text_of(leaf.private_key_pem), at=0)
    assert sorted(found.names) == ["192.0.2.1", "2001:db8::1", "a.example"]


@given(st.permutations(range(4)))
def test_a_chain_in_any_order_is_put_in_order(order: Sequence[int]) -> None:
    certificates = chain()
    found = pair(b"".join(certificates[at].pem for at in order), certificates[3].key)
    assert subjects(found.chain) == ["site", "Second", "First", "Root"]
    assert found.warnings == ()


@given(st.permutations(range(3)), st.integers(0, 3))
def test_the_key_may_be_anywhere_in_a_file_with_both(order: Sequence[int], at: int) -> None:
    _, first, second, leaf = chain()
    blocks = [[first.pem, second.pem, leaf.pem][each] for each in order]
    blocks.insert(at, leaf.key)
    found = pair(b"words around it\n".join(blocks), None)
    assert subjects(found.chain) == ["site", "Second", "First"]
    assert b"PRIVATE" not in found.chain


def test_of_two_certificates_with_one_key_the_later_one_serves() -> None:
    *_, second, leaf = chain()
    renewed = made("site", second, names=("shop.example",), days=180, private=leaf.private)
    found = pair(leaf.pem + renewed.pem + second.pem, leaf.key)
    assert found.not_after == renewed.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("old", [False, True], ids=["PKCS#8", "the older form"])
def test_an_encrypted_key_is_opened_by_its_password(old: bool) -> None:
    leaf = made("site", names=("a.example",))
    found = pair(leaf.pem, key_pem(leaf.private, b"s3cret", old=old), b"s3cret")
    assert found.was_encrypted
    assert found.key == pair(leaf.pem, leaf.key, b"s3cret").key  # one that is not encrypted needs none


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_line_ends_do_not_matter(newline: bytes) -> None:
    leaf = made("site", names=("a.example",))
    certificate, key = (each.replace(b"\n", newline) for each in (leaf.pem, leaf.key))
    assert pair(certificate, key).names == ("a.example",)


def weak_rsa() -> bytes:
    return key_pem(rsa.generate_private_key(65537, 1024))


def weak_curve() -> bytes:
    return key_pem(ec.generate_private_key(ec.SECP224R1()))


def other_kind() -> bytes:
    key = dsa.generate_private_key(2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public(leaf: Made) -> bytes:
    return leaf.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


NEW_KEY = "make a new key (ECDSA P-256, or RSA with 2048 bits) and let a certificate be issued for it"
LEAF = made("site", names=("a.example",))
DER_KEY = LEAF.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        pytest.param(
            b" \n",
            LEAF.key,
            f"{SITE} is empty; write PEM into it: -----BEGIN CERTIFICATE----- and so on",
            id="empty",
        ),
        pytest.param(
            b"hello",
            LEAF.key,
            f"{SITE} is not PEM; it must have lines such as -----BEGIN CERTIFICATE-----",
            id="not PEM",
        ),
        pytest.param(
            LEAF.der,
            LEAF.key,
            f"{SITE} holds a certificate in DER, not PEM; convert it: openssl x509 -inform der -in {SITE} "
            f"-out {SITE}.pem",
            id="DER",
        ),
        pytest.param(
            LEAF.pem,
            DER_KEY,
            f"{KEY} holds a key in DER, not PEM; convert it: openssl pkey -inform der -in {KEY} -out "
            f"{KEY}.pem",
            id="a key in DER",
        ),
        pytest.param(
            b"\x30\x82\x09\x99\x02\x01\x03\x30\x82",
            LEAF.key,
            f"{SITE} holds a PKCS#12 file, not PEM; convert it: openssl pkcs12 -in {SITE} -nodes -out "
            f"{SITE}.pem",
            id="PKCS#12",
        ),
        pytest.param(
            LEAF.pem[:-20],
            LEAF.key,
            f"{SITE} breaks off: a block of CERTIFICATE has no end; write it completely, to "
            "-----END CERTIFICATE-----",
            id="half a file",
        ),
        pytest.param(
            LEAF.pem[:-20] + LEAF.pem,
            LEAF.key,
            f"{SITE} breaks off: a block of CERTIFICATE has no end; write it completely, to "
            "-----END CERTIFICATE-----",
            id="half a file and a whole one",
        ),
        pytest.param(
            LEAF.pem[40:],
            LEAF.key,
            f"{SITE} has the end of a CERTIFICATE without its beginning; copy it again",
            id="the other half",
        ),
        pytest.param(
            LEAF.pem.replace(b"MII", b"AAA", 1),
            LEAF.key,
            f"{SITE} has a damaged certificate (number 1 in it); copy it again",
            id="damaged",
        ),
        pytest.param(
            LEAF.key,
            LEAF.key,
            f"{SITE} holds PRIVATE KEY, but no certificate; name the file with the certificate",
            id="a key as certificate",
        ),
        pytest.param(
            LEAF.pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"),
            LEAF.key,
            f"{SITE} holds the request for a certificate, not the certificate; name the file that the "
            "authority sent",
            id="a request",
        ),
        pytest.param(
            LEAF.pem,
            None,
            f"{SITE} holds a certificate, but no private key; add it to the setting: certificate:key",
            id="no key",
        ),
        pytest.param(
            LEAF.pem,
            LEAF.pem,
            f"{KEY} holds a certificate, but no private key; name the file with the key",
            id="a certificate as key",
        ),
        pytest.param(
            LEAF.pem,
            public(LEAF),
            f"{KEY} holds a public key, not the private one; name the file that was made with the request",
            id="a public key",
        ),
        pytest.param(
            LEAF.pem,
            b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----",
            f"{KEY} holds X509 CRL, but no private key; name the key's file",
            id="something else as key",
        ),
        pytest.param(
            LEAF.pem,
            LEAF.key * 2,
            f"{KEY} holds 2 private keys; keep that of the certificate",
            id="two keys",
        ),
        pytest.param(
            LEAF.pem,
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
            f"{KEY} holds an OpenSSH key, which TLS does not use; name the key that the certificate was "
            "made for",
            id="OpenSSH",
        ),
        pytest.param(
            LEAF.pem,
            LEAF.key.replace(b"MIG", b"AAA"),
            f"{KEY} holds a damaged key; copy it again: openssl pkey -noout -check -in FILE says if it is "
            "whole",
            id="a damaged key",
        ),
        pytest.param(
            LEAF.pem,
            made("other").key,
            f"{KEY} is not the key of the certificate in {SITE} (a.example); use the two "
            "that belong together",
            id="another key",
        ),
        pytest.param(
            LEAF.pem + made("other").key,
            None,
            f"{SITE} has a key that is not that of its certificate (a.example); use the two "
            "that belong together",
            id="another key in one file",
        ),
        pytest.param(
            LEAF.pem,
            key_pem(LEAF.private, b"s3cret"),
            f"{KEY} is encrypted; name a file with its password in TLS__PASSWORD_FILE, or decrypt it "
            "(openssl pkey)",
            id="encrypted",
        ),
        pytest.param(
            LEAF.pem,
            weak_rsa(),
            f"{KEY} is too weak a key (RSA with 1024 bits, the least is 2048); {NEW_KEY}",
            id="RSA 1024",
        ),
        pytest.param(
            LEAF.pem,
            weak_curve(),
            f"{KEY} is too weak a key (ECDSA with 224 bits, the least is 256); {NEW_KEY}",
            id="P-224",
        ),
        pytest.param(
            LEAF.pem, other_kind(), f"{KEY} is a key of a kind that TLS does not use; {NEW_KEY}", id="DSA"
        ),
    ],
)
def test_what_cannot_serve_is_refused(certificate: bytes, key: bytes | None, text: str) -> None:
    assert refused(certificate, key) == text


def test_a_wrong_password_is_named_by_its_setting() -> None:
    text = refused(LEAF.pem, key_pem(LEAF.private, b"s3cret"), b"other")
    assert text == (
        f"{KEY} is encrypted, and the password of TLS__PASSWORD_FILE does not open it; correct that file"
    )


def test_a_certificate_signed_with_sha_1_is_refused() -> None:
    leaf = made("site", names=("a.example",), private=rsa.generate_private_key(65537, 2048))
    sha_256, sha_1 = (bytes.fromhex(f"2a864886f70d0101{last}") for last in ("0b", "05"))
    der = leaf.der.replace(sha_256, sha_1)  # its signature is not looked at
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    assert refused(pem, leaf.key) == (
        f"{SITE} has a certificate signed with SHA1, which clients refuse; let a new one be issued"
    )


def warned(certificate: bytes, key: bytes, at: float = AT) -> list[str]:
    return [text.removeprefix(f"{SITE} ") for text in pair(certificate, key, at=at).warnings]


def test_an_expired_certificate_is_a_warning_as_it_may_still_be_better_than_none() -> None:
    old = made("site", names=("a.example",), days=-1, begun=90)
    assert warned(old.pem, old.key) == [
        "has expired, on 2029-12-31 00:00 UTC: clients refuse it; renew it",
    ]


def test_a_certificate_of_the_future_is_a_warning() -> None:
    early = made("site", names=("a.example",), begun=-2)
    assert warned(early.pem, early.key) == [
        "is not valid before 2030-01-03 00:00 UTC: clients refuse it until then; check this machine's clock"
    ]


def test_an_expired_intermediate_is_a_warning() -> None:
    between = made("Between", chain()[0], days=-1, begun=90)
    leaf = made("site", between, names=("a.example",))
    assert warned(leaf.pem + between.pem, leaf.key) == [
        "has an intermediate that has expired (Between); take the authority's latest chain"
    ]


def test_a_certificate_without_names_is_a_warning() -> None:
    leaf = made("site")
    assert warned(leaf.pem, leaf.key) == [
        "has no subjectAltName: clients refuse it for every name; let a new one be issued"
    ]


def test_a_public_authoritys_leaf_alone_is_a_warning() -> None:
    *_, second, _ = chain()
    leaf = made("site", second, names=("a.example",), aia=True)
    assert warned(leaf.pem + second.pem, leaf.key) == []
    assert warned(leaf.pem, leaf.key) == [
        "has no intermediate certificate of Second, so some clients refuse it; append that, or name the "
        "authority's full chain (fullchain.pem)"
    ]


def test_certificates_that_are_not_of_the_chain_are_a_warning() -> None:
    stray = made("stray")
    assert warned(LEAF.pem + stray.pem, LEAF.key) == [
        "has certificates that are not of its chain and are not sent: stray; remove them"
    ]


def test_a_certificate_is_called_by_its_names_not_by_its_subject() -> None:
    several = made("x", names=("a.example", "b.example", "c.example", "d.example"))
    assert f"{SITE} (a.example, b.example and 2 more); use" in refused(several.pem, LEAF.key)


def test_an_impostor_with_the_issuers_name_is_not_of_the_chain() -> None:
    *_, second, leaf = chain()
    impostor = made("Second", days=999)
    assert subjects(pair(impostor.pem + second.pem + leaf.pem, leaf.key).chain) == ["site", "Second"]


def test_authorities_are_all_certificates_of_the_file() -> None:
    root, first, *_ = chain()
    old = made("Old", days=-1, begun=9)
    pem, warnings = authorities(Pem("/run/ca.pem", root.pem + first.pem + old.pem), AT)
    assert subjects(pem) == ["Root", "First", "Old"]
    assert warnings == ("/run/ca.pem has an authority that has expired: Old; replace it",)


@given(st.binary(max_size=200) | st.sampled_from([LEAF.pem, LEAF.key, LEAF.der]), st.integers(0, 900))
def test_no_bytes_are_more_than_a_problem(data: bytes, cut: int) -> None:
    for text in (data, LEAF.pem[:cut] + data, data + LEAF.key[cut:]):
        with suppress(CertificateError):
            assert pair(text, LEAF.key).names == ("a.example",)
