"""What errors of TLS mean."""

import ssl

import pytest

from balancer.connections.tls_faults import TlsFault, is_of_handshake, trouble_of


def openssl(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] as Python says it")
    error.reason = reason
    return error


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


REFUSED = "its certificate is refused: "
ALERT = "it refuses the connection (TLS alert: "
TROUBLES: dict[str, tuple[OSError, TlsFault, str]] = {
    "no issuer": (
        verification(20, "unable to get local issuer certificate"), TlsFault.UNKNOWN_ISSUER,
        f"{REFUSED}unable to get local issuer certificate",
    ),
    "self-signed": (
        verification(18, "self-signed certificate"), TlsFault.UNKNOWN_ISSUER,
        f"{REFUSED}self-signed certificate",
    ),
    "another name": (
        verification(62, "Hostname mismatch, certificate is not valid for 'app.internal'."),
        TlsFault.OTHER_NAME, f"{REFUSED}it is for another name",
    ),
    "another address": (
        verification(64, "IP address mismatch, certificate is not valid for '10.0.0.1'."),
        TlsFault.OTHER_NAME, f"{REFUSED}it is for another name",
    ),
    "expired": (
        verification(10, "certificate has expired"), TlsFault.OUT_OF_DATE,
        f"{REFUSED}certificate has expired",
    ),
    "not yet valid": (
        verification(9, "certificate is not yet valid"), TlsFault.OUT_OF_DATE,
        f"{REFUSED}certificate is not yet valid",
    ),
    "a weak key": (
        verification(66, "EE certificate key too weak"), TlsFault.OTHER_CERTIFICATE,
        f"{REFUSED}EE certificate key too weak",
    ),
    "plain HTTP": (
        openssl("WRONG_VERSION_NUMBER"), TlsFault.NOT_TLS, "it does not speak TLS on this port"
    ),
    "no certificate": (
        openssl("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TlsFault.WANTS_CERTIFICATE,
        f"{ALERT}certificate required)",
    ),
    "its issuer is unknown there": (
        openssl("TLSV1_ALERT_UNKNOWN_CA"), TlsFault.WANTS_CERTIFICATE, f"{ALERT}unknown ca)"
    ),
    "an expired one": (
        openssl("SSLV3_ALERT_CERTIFICATE_EXPIRED"), TlsFault.WANTS_CERTIFICATE, f"{ALERT}certificate expired)"
    ),
    "old versions only": (
        openssl("TLSV1_ALERT_PROTOCOL_VERSION"), TlsFault.ALERT, f"{ALERT}protocol version)"
    ),
    "a name that it does not have": (
        openssl("TLSV1_UNRECOGNIZED_NAME"), TlsFault.ALERT, f"{ALERT}unrecognized name)"
    ),
    "another message than expected": (
        openssl("UNEXPECTED_MESSAGE"), TlsFault.OTHER, "TLS failed (unexpected message)",
    ),
    "something else": (
        openssl("NO_PROTOCOLS_AVAILABLE"), TlsFault.OTHER,
        "TLS failed (no protocols available)",
    ),
    "an end": (
        openssl("UNEXPECTED_EOF_WHILE_READING"), TlsFault.CLOSED,
        "it closed the connection in the TLS handshake",
    ),
    "a reset": (
        ConnectionResetError(), TlsFault.CLOSED, "it closed the connection in the TLS handshake"
    ),
    "a handshake that does not end": (
        ConnectionAbortedError(), TlsFault.OTHER, "the TLS handshake takes too long"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TROUBLES)
def test_errors_in_words(case: str) -> None:
    error, fault, text = TROUBLES[case]
    assert is_of_handshake(error)
    assert trouble_of(error) == (fault, text)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError(113, "no route")])
def test_errors_before_the_handshake(error: OSError) -> None:
    assert not is_of_handshake(error)
