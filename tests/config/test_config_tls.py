"""The settings of TLS: their forms, the mistakes in them, and what has no effect."""

from pathlib import Path

import pytest
import yaml

from balancer.config.address import Address
from balancer.config.effective import as_yaml, effective
from balancer.config.export import export
from balancer.config.loader import Loaded, load_with_origins
from balancer.config.pair_files import PairFiles
from balancer.config.table import table
from balancer.errors import SettingsError
from tests.fakes.certificates import authority, key_pem, made, pair_in, text_of

MASK = "**********"


def loaded(**tls: str) -> Loaded:
    environ = {f"BALANCER_TLS__{name}": value for name, value in tls.items()}
    return load_with_origins({"BALANCER_UPSTREAMS": "app:8000", **environ})


def problems(**tls: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(**tls)
    return caught.value.problems


@pytest.fixture
def site(tmp_path: Path) -> str:
    return ":".join(map(str, pair_in(tmp_path)))


def test_there_is_no_tls_without_a_certificate() -> None:
    found = loaded()
    assert not found.settings.tls.is_on
    assert found.tls.certificates == ()


def test_certificates_are_named_by_their_files(site: str, tmp_path: Path) -> None:
    other, key = pair_in(tmp_path, "other", "other.example")
    other.write_bytes(other.read_bytes() + key.read_bytes())
    found = loaded(CERTIFICATES=f" {site} , {other}")
    certificate, _, site_key = site.partition(":")
    assert found.settings.tls.certificates == (PairFiles(certificate, site_key), PairFiles(str(other)))
    assert [(label, pair.names) for label, pair in found.tls.certificates] == [
        (certificate, ("shop.example",)),
        (str(other), ("other.example",)),
    ]
    assert found.warnings == ()
    assert found.settings.tls.listen == Address("0.0.0.0", 8443)


def test_a_certificate_in_the_environment_comes_first(site: str) -> None:
    leaf = made("inline", names=("inline.example",))
    found = loaded(CERTIFICATE=leaf.pem.decode(), KEY=leaf.key.decode(), CERTIFICATES=site)
    assert [label for label, _ in found.tls.certificates] == ["TLS__CERTIFICATE", site.partition(":")[0]]


def test_keys_are_shown_nowhere() -> None:
    leaf = made("inline", names=("inline.example",))
    found = loaded(CERTIFICATE=leaf.pem.decode() + leaf.key.decode())
    for shown in (repr(effective(found)), as_yaml(found.settings), repr(export(found))):
        assert "PRIVATE KEY" not in shown
        assert MASK in shown
    assert "PRIVATE KEY" not in table()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param(
            "CERTIFICATES",
            "/a:/b:/c",
            '"/a:/b:/c" has an item that is neither certificate:key nor one path (/a:/b:/c); write '
            "/run/site.pem:/run/site.key; paths have no colon and no comma",
            id="too many paths",
        ),
        pytest.param(
            "CERTIFICATES",
            ",".join("a" * 257),
            f'"{"a," * 39}a... names 257 certificates; there is room for 256: name fewer',
            id="too many",
        ),
        pytest.param(
            "CERTIFICATES", "/a:/b, /a:/c", '"/a:/b, /a:/c" names /a twice; keep one of them', id="twice"
        ),
        pytest.param(
            "CERTIFICATES",
            "-----BEGIN PRIVATE KEY-----\nAAAA",
            f"{MASK} holds PEM text, not paths; put it into TLS__CERTIFICATE and TLS__KEY",
            id="text",
        ),
        pytest.param(
            "KEY",
            "x",
            f"{MASK} is set without TLS__CERTIFICATE; set that to the certificate's PEM text",
            id="a key alone",
        ),
        pytest.param(
            "KEY", MASK, f"{MASK} is the mask that replaces a secret in output; write the PEM text itself",
            id="the mask",
        ),
        pytest.param(
            "MIN_VERSION",
            "TLSv1.1",
            '"TLSv1.1" is too old to be safe (RFC 8996), and not offered; write 1.2 or 1.3',
            id="an old version",
        ),
        pytest.param("MIN_VERSION", "2", "\"2\" is not known; write '1.2' or '1.3'", id="no version"),
        pytest.param(
            "CLIENT_CERTIFICATES",
            "maybe",
            "\"maybe\" is not known; write 'required' or 'optional'",
            id="client certificates",
        ),
        pytest.param(
            "HSTS",
            "1h",
            '"1h" is not a value of Strict-Transport-Security; write max-age=31536000 (a year, in seconds), '
            "with ; includeSubDomains if all subdomains have HTTPS",
            id="a duration",
        ),
        pytest.param(
            "HSTS",
            "preload",
            '"preload" does not say for how long; write max-age=31536000 (a year, in seconds), '
            "with ; includeSubDomains if all subdomains have HTTPS",
            id="no duration",
        ),
        pytest.param("LISTEN", "8443", '"8443" is a port without an address; write 0.0.0.0:8443', id="port"),
        pytest.param("PUBLIC_PORT", "0", '"0" is too small; the minimum is 1', id="public port"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported(name: str, value: str, problem: str) -> None:
    assert problems(**{name: value}) == [f"BALANCER_TLS__{name}: {problem}"]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("off", ""),
        ("max-age=0", "max-age=0"),
        ('preload ;INCLUDESUBDOMAINS; Max-Age="60"', "max-age=60; includeSubDomains; preload"),
    ],
)
def test_hsts_is_the_value_of_the_field(given: str, value: str) -> None:
    assert loaded(HSTS=given).settings.tls.hsts == value


@pytest.mark.parametrize(("given", "version"), [("1.3", "1.3"), ("TLSv1.2", "1.2")])
def test_versions_have_several_spellings(given: str, version: str) -> None:
    assert loaded(MIN_VERSION=given).settings.tls.min_version == version


def test_files_are_read_and_what_is_wrong_is_named_with_its_setting(site: str, tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty"
    empty.touch()
    key = site.partition(":")[2]
    stray = tmp_path / "stray.pem"
    stray.write_bytes(made("stray").pem)
    assert problems(CERTIFICATES=f"{missing}, {stray}:{key}", CLIENT_CA=str(empty)) == [
        f'BALANCER_TLS__CERTIFICATES: "{missing}" cannot be read (no such file or directory); correct the '
        "path or mount the file",
        f'BALANCER_TLS__CERTIFICATES: "{key}" is not the key of the certificate in {stray} (stray); use the '
        "two that belong together",
        f'BALANCER_TLS__CLIENT_CA: "{empty}" is empty; write PEM into it: -----BEGIN CERTIFICATE----- and so '
        "on",
    ]
    assert problems(CERTIFICATES=site, PASSWORD_FILE=str(empty)) == [
        f'BALANCER_TLS__PASSWORD_FILE: "{empty}" holds no password; write it into its first line'
    ]


def test_text_that_is_wrong_is_not_repeated() -> None:
    leaf = made("inline", names=("inline.example",))
    assert problems(CERTIFICATE=leaf.pem.decode(), KEY=key_pem(leaf.private, b"x").decode()) == [
        "BALANCER_TLS__KEY: is encrypted; name a file with its password in TLS__PASSWORD_FILE, or decrypt it "
        "(openssl pkey)"
    ]


@pytest.mark.parametrize(
    ("listen", "other"), [("0.0.0.0:8080", "LISTEN"), ("127.0.0.1:9901", "ADMIN_LISTEN")]
)
def test_each_listener_has_its_own_port(site: str, listen: str, other: str) -> None:
    address = "0.0.0.0:8080" if other == "LISTEN" else "127.0.0.1:9901"
    assert problems(CERTIFICATES=site, LISTEN=listen) == [
        f'BALANCER_TLS__LISTEN: "{listen}" has the same port as {other} ({address}); give one of them another'
        " port"
    ]
    assert loaded(LISTEN=listen).settings.tls.listen.port  # without TLS there is nothing to clash


def test_an_upstream_at_the_tls_listener_would_be_a_loop(site: str) -> None:
    with pytest.raises(SettingsError, match=r"where this balancer itself listens \(TLS__LISTEN 127"):
        load_with_origins(
            {
                "BALANCER_UPSTREAMS": "127.0.0.1:8443",
                "BALANCER_TLS__LISTEN": "127.0.0.1:8443",
                "BALANCER_TLS__CERTIFICATES": site,
            }
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "0.0.0.0:443"),
        ("PASSWORD_FILE", "/run/password"),
        ("MIN_VERSION", "1.3"),
        ("CLIENT_CA", "/run/ca.pem"),
        ("REDIRECT", "true"),
        ("HSTS", "max-age=60"),
        ("PUBLIC_PORT", "8443"),
    ],
)
def test_settings_without_a_certificate_have_no_effect(name: str, value: str) -> None:
    (warning,) = loaded(**{name: value}).warnings
    assert warning == (
        f'BALANCER_TLS__{name}: "{value}" has no effect while there is no certificate; set TLS__CERTIFICATES '
        "to certificate:key, or remove this"
    )


def test_other_settings_without_effect_are_reported(site: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("x")
    found = loaded(CERTIFICATES=site, CLIENT_CERTIFICATES="optional", PASSWORD_FILE=str(password))
    assert found.warnings == (
        'BALANCER_TLS__CLIENT_CERTIFICATES: "optional" has no effect while TLS__CLIENT_CA is not set; set it,'
        " or remove this",
        "TLS__PASSWORD_FILE has no effect: no key is encrypted; remove it",
    )


def test_doubts_about_certificates_are_warnings(tmp_path: Path) -> None:
    first, key = pair_in(tmp_path, "first")
    second, _ = pair_in(tmp_path, "second")
    old = made("old", names=("old.example",), days=-3650, begun=4000)
    third = tmp_path / "third.pem"
    third.write_bytes(old.pem + old.key)
    expired, again = loaded(
        CERTIFICATES=f"{first}:{key}, {second}:{tmp_path / 'second.key'}, {third}"
    ).warnings
    assert expired.startswith(f"{third} has expired, on 2020-")
    assert again == f"{second} is not used for shop.example: {first} comes first and has that name too"


def test_a_settings_file_names_them_too(site: str, tmp_path: Path) -> None:
    ca, file = tmp_path / "ca.pem", tmp_path / "balancer.yaml"
    ca.write_bytes(text_of(authority().cert_pem))
    tls = {"certificates": [site], "client_ca": str(ca), "client_certificates": "optional"}
    file.write_text(yaml.safe_dump({"upstreams": ["app:8000"], "tls": tls}))
    found = load_with_origins({}, str(file))
    assert found.warnings == ()
    assert found.tls.client_ca == text_of(authority().cert_pem)
    assert yaml.safe_load(as_yaml(found.settings))["tls"]["certificates"] == [site]
