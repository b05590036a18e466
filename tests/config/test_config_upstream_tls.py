"""The settings of TLS to upstreams, and the files that they name."""

from pathlib import Path

import pytest

from balancer.config.loader import load_with_origins
from balancer.errors import SettingsError
from balancer.policies import registry
from tests.fakes.certificates import authority, key_pem, made, pair_in, text_of

UPSTREAM = "https://app1:8443"
GROUP = "BALANCER_UPSTREAM_TLS__"


def warnings(upstreams: str = UPSTREAM, **settings: str) -> tuple[str, ...]:
    environ = {"BALANCER_UPSTREAMS": upstreams, **{GROUP + name: value for name, value in settings.items()}}
    return load_with_origins(environ, None, registry).warnings


def problem(**settings: str) -> str:
    with pytest.raises(SettingsError) as caught:
        warnings(**settings)
    (text,) = caught.value.problems
    return text


def test_files_that_are_good(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path, "own", "balancer.example")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(text_of(authority().cert_pem))
    assert warnings(CA=str(ca), CERTIFICATE=str(certificate), KEY=str(key)) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("*.internal", "is a pattern; write one name", id="pattern"),
        pytest.param("https://app.internal", "is a URL; write the name alone", id="url"),
        pytest.param("app.internal:8443", "has a port, .*; write app.internal", id="port"),
        pytest.param("app internal", "has no valid host name", id="space"),
    ],
)
def test_server_names_that_are_none(name: str, text: str) -> None:
    assert GROUP + "SERVER_NAME" in problem(SERVER_NAME=name)
    with pytest.raises(SettingsError, match=text):
        warnings(SERVER_NAME=name)


def test_a_file_that_is_not_there() -> None:
    assert problem(CA="/no/ca.pem").startswith(f'{GROUP}CA: "/no/ca.pem" cannot be read')


def test_a_key_alone() -> None:
    assert problem(KEY="/run/own.key").endswith("set that to the certificate's file")


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    certificate, _ = pair_in(tmp_path)
    assert "but no private key; name the file with the key in UPSTREAM_TLS__KEY" in problem(
        CERTIFICATE=str(certificate)
    )


def test_an_encrypted_key_is_to_be_decrypted(tmp_path: Path) -> None:
    own = made("balancer.example", begun=3000)
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    certificate.write_bytes(own.pem)
    key.write_bytes(key_pem(own.private, b"secret"))
    text = problem(CERTIFICATE=str(certificate), KEY=str(key))
    assert text == f'{GROUP}KEY: "{key}" is encrypted; decrypt it (openssl pkey)'


def test_upstreams_that_are_not_verified_are_warned_about() -> None:
    (text,) = warnings(VERIFY="false")
    assert text.startswith(f"{GROUP}VERIFY: false means that certificates of upstreams are not verified")


def test_without_an_upstream_by_tls_the_group_has_no_effect() -> None:
    (text,) = warnings("app1:8000", SERVER_NAME="app.internal")
    assert "has no effect while no upstream is written as https://" in text
