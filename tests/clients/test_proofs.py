"""What the TLS listener shows to an authority that looks for a proof, and to whom else."""

import ssl

import pytest
from cryptography import x509

from balancer.acme.challenge import proof
from balancer.clients.proofs import Proofs
from balancer.spec.tls import ChallengeSpec
from balancer.telemetry.columns import LISTENER_CONNECTIONS
from tests.clients.test_handshakes import Listening, finish, is_closed
from tests.fakes.client_hello import TLS_1_3, client_hello
from tests.fakes.tls_specs import client_context

DOMAIN = "shop.example"
CHAIN, KEY = proof(DOMAIN, "t0ken.thumbprint")
DIGEST = "bbb41d2d41b0b400e81dbb2b015c38accfc81ffb2f5692da56641b93144d80dd"
CHALLENGE = ChallengeSpec(domain=DOMAIN, chain=CHAIN, key=KEY)


def hello(name: str = DOMAIN, *protocols: str) -> bytes:
    return client_hello(TLS_1_3, (0x1301,), name, protocols=protocols)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        pytest.param(hello(DOMAIN, "acme-tls/1"), True, id="an authority"),
        pytest.param(hello("SHOP.example", "acme-tls/1"), True, id="in capitals"),
        pytest.param(hello("other.example", "acme-tls/1"), False, id="for another domain"),
        pytest.param(hello(DOMAIN), False, id="a client"),
        pytest.param(hello(DOMAIN, "http/1.1"), False, id="a client with a protocol"),
        pytest.param(hello(DOMAIN, "acme-tls/1", "http/1.1"), False, id="a client that offers all"),
        pytest.param(b"\x16\x03\x01\x00\x01\x01", False, id="no hello"),
    ],
)
def test_only_an_authority_wants_a_proof(data: bytes, wanted: bool) -> None:
    assert (Proofs([CHALLENGE]).wanted_by(data) is not None) is wanted


def test_a_proof_that_cannot_be_used_is_not_shown() -> None:
    broken = ChallengeSpec(domain="broken.example", chain=b"x", key=KEY)
    proofs = Proofs([broken, CHALLENGE])
    assert proofs.wanted_by(hello("broken.example", "acme-tls/1")) is None
    assert proofs.wanted_by(hello(DOMAIN, "acme-tls/1")) is not None


def test_the_proof_is_a_certificate_as_rfc_8737_has_it() -> None:
    found = x509.load_pem_x509_certificate(CHAIN)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [DOMAIN]
    (identifier,) = (one for one in found.extensions if one.oid.dotted_string == "1.3.6.1.5.5.7.1.31")
    assert identifier.critical
    assert isinstance(identifier.value, x509.UnrecognizedExtension)
    # `printf %s t0ken.thumbprint | sha256sum`, as an octet string in DER
    assert identifier.value.value.hex() == "0420" + DIGEST


def authority() -> ssl.SSLContext:
    context = client_context(verify=False)
    context.set_alpn_protocols(["acme-tls/1"])
    return context


def test_an_authority_gets_the_proof_and_the_connection_ends() -> None:
    listening = Listening()
    listening.handshakes.show([CHALLENGE])
    asks = listening.accept_hello(authority())
    ordinary = listening.accept_hello()
    listening.settle()
    asks.shake_hands()
    ordinary.shake_hands()
    assert asks.tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(CHAIN.decode())
    assert asks.tls.selected_alpn_protocol() == "acme-tls/1"
    assert asks.read() == b""
    assert asks.ended
    listening.settle()
    assert is_closed(asks)
    assert not is_closed(ordinary)
    assert listening.results() == {"ok": 2}
    assert listening.count(LISTENER_CONNECTIONS) == 1
    finish(listening)


def test_without_challenges_no_hello_is_read() -> None:
    listening = Listening()
    listening.handshakes.show([CHALLENGE])
    listening.handshakes.show([])
    assert listening.handshakes.proofs is None
    asks = listening.accept_hello(authority())
    listening.settle()
    asks.shake_hands()
    assert asks.tls.selected_alpn_protocol() is None
    finish(listening)
