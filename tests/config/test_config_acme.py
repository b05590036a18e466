"""The settings of automatic certificates: their forms, mistakes in them, and what is there at the start."""

import os
from pathlib import Path

import pytest

from balancer.certificates.self_signed import ISSUER
from balancer.config.acme import LETS_ENCRYPT, MOST_DOMAINS, AcmeSettings
from balancer.config.acme_paths import certificate_file
from balancer.config.loader import Loaded, load_with_origins
from balancer.errors import SettingsError
from tests.fakes.certificates import pair_in


def loaded(storage: Path | str, domains: str = "shop.example", routes: str = "", **acme: str) -> Loaded:
    environ = {
        "BALANCER_UPSTREAMS": "app:8000",
        "BALANCER_TLS__ACME__DOMAINS": domains,
        "BALANCER_TLS__ACME__STORAGE": str(storage),
        **({"BALANCER_ROUTES": routes} if routes else {}),
        **{f"BALANCER_TLS__ACME__{name}": value for name, value in acme.items()},
    }
    return load_with_origins(environ)


def problem(storage: Path | str, domains: str = "shop.example", **acme: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(storage, domains, **acme)
    (found,) = caught.value.problems
    return found


def kept_at(storage: Path, domain: str = "shop.example") -> Path:
    """The file of a certificate, with its directory made."""
    folder = AcmeSettings(domains=(domain,), storage=str(storage)).folder
    file = Path(certificate_file(folder, domain))
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def kept(storage: Path, domain: str = "shop.example", host: str = "") -> Path:
    """A certificate that was ordered before."""
    file = kept_at(storage, domain)
    certificate, key = pair_in(storage, host=host or domain)
    file.write_bytes(certificate.read_bytes() + key.read_bytes())
    return file


def test_domains_switch_tls_on_with_self_signed_certificates(tmp_path: Path) -> None:
    found = loaded(tmp_path, " Shop.Example. , www.shop.example,shop.example")
    assert found.settings.tls.is_on
    assert found.settings.tls.acme.domains == ("shop.example", "www.shop.example")
    assert [label for label, _ in found.tls.certificates] == ["shop.example", "www.shop.example"]
    assert found.tls.awaited == ("shop.example", "www.shop.example")
    first, second = (pair for _, pair in found.tls.certificates)
    assert (first.issuer, first.names, second.names) == (ISSUER, ("shop.example",), ("www.shop.example",))
    assert found.warnings == ()
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_is_kept_is_used(tmp_path: Path) -> None:
    kept(tmp_path)
    found = loaded(tmp_path, "shop.example,www.shop.example")
    assert found.tls.awaited == ("www.shop.example",)
    assert found.tls.certificates[0][1].issuer != ISSUER


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "is empty; write PEM into it", id="empty"),
        pytest.param("-----BEGIN CERTIFICATE-----\nx", "breaks off", id="broken off"),
    ],
)
def test_a_mangled_one_is_reported_and_awaited(tmp_path: Path, text: str, why: str) -> None:
    file = kept_at(tmp_path)
    file.write_text(text)
    found = loaded(tmp_path)
    assert found.tls.awaited == ("shop.example",)
    (warning,) = found.warnings
    assert warning.startswith(f"{file} {why}")
    assert warning.endswith("A new certificate for shop.example is going to be ordered")


def test_one_for_another_name_is_not_used(tmp_path: Path) -> None:
    kept(tmp_path, host="other.example")
    found = loaded(tmp_path)
    assert found.tls.awaited == ("shop.example",)
    assert "is a certificate for other names than shop.example" in found.warnings[0]


def test_files_come_first(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    environ = {
        "BALANCER_UPSTREAMS": "app:8000",
        "BALANCER_TLS__CERTIFICATES": f"{certificate}:{key}",
        "BALANCER_TLS__ACME__DOMAINS": "shop.example,help.example",
        "BALANCER_TLS__ACME__STORAGE": str(tmp_path),
    }
    found = load_with_origins(environ)
    assert [label for label, _ in found.tls.certificates] == [
        str(certificate),
        "shop.example",
        "help.example",
    ]
    assert found.warnings == (
        f"the automatic certificate for shop.example is ordered for nothing: {certificate} comes first and "
        "has that name too; remove one of them",
    )


def test_routes_stands_for_their_exact_hosts(tmp_path: Path) -> None:
    routes = "a.example/x/=default, *.b.example/=default, a.example/=default, 192.0.2.1/=default, /=default"
    assert loaded(tmp_path, "routes, c.example", routes).tls.domains == ("a.example", "c.example")


def test_routes_without_a_host_is_an_error(tmp_path: Path) -> None:
    assert problem(tmp_path, "routes").startswith("BALANCER_TLS__ACME__DOMAINS: routes names no host")


@pytest.mark.parametrize(
    ("domains", "why"),
    [
        pytest.param("*.shop.example", "which needs DNS-01: use files", id="wildcard"),
        pytest.param("192.0.2.1", "an IP address (192.0.2.1)", id="IPv4"),
        pytest.param('["[2001:db8::1]"]', "an IP address ([2001:db8::1])", id="IPv6"),
        pytest.param("https://shop.example/x", "write its host: shop.example", id="URL"),
        pytest.param("m\u00fcnchen.example", "not ASCII; write xn--mnchen-3ya.example", id="not ASCII"),
        pytest.param("shop.example:443", "not a host name (shop.example:443)", id="port"),
        pytest.param("shop_a.example", "not a host name (shop_a.example)", id="underscore"),
        pytest.param("shop.1", "not a host name (shop.1)", id="a number at the end"),
        pytest.param("a" * 64 + ".example", "not a host name", id="a long label"),
        pytest.param("../../etc.example", "not a host name", id="a path"),
        pytest.param(
            ",".join(f"a{n}.example" for n in range(MOST_DOMAINS + 1)), "there is room for 128", id="too many"
        ),
    ],
)  # fmt: skip
def test_a_domain_that_cannot_be_ordered_is_refused(tmp_path: Path, domains: str, why: str) -> None:
    found = problem(tmp_path, domains)
    assert found.startswith("BALANCER_TLS__ACME__DOMAINS: ")
    assert why in found


def test_without_a_storage_nothing_is_ordered() -> None:
    environ = {"BALANCER_UPSTREAMS": "app:8000", "BALANCER_TLS__ACME__DOMAINS": "shop.example"}
    with pytest.raises(SettingsError) as caught:
        load_with_origins(environ)
    assert caught.value.problems == [
        'BALANCER_TLS__ACME__DOMAINS: "shop.example" needs TLS__ACME__STORAGE; set that to a directory on a '
        "volume, which outlives the process"
    ]


def test_a_storage_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "missing"
    assert problem(place) == (
        f'BALANCER_TLS__ACME__STORAGE: "{place}" is not a directory; create it, or mount a volume there: '
        "what is lost must be ordered again"
    )


def test_a_storage_that_cannot_be_written_to_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may do everything
    found = problem(tmp_path)
    assert found.startswith(
        f'BALANCER_TLS__ACME__STORAGE: "{tmp_path}" cannot be written to; let the user with'
    )


@pytest.mark.parametrize("name", ["", "certificates", "state", "pending"])
def test_a_storage_that_another_user_has_begun_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    folder = Path(AcmeSettings(domains=("shop.example",), storage=str(tmp_path)).folder, name)
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)  # root may do everything
    assert problem(tmp_path).startswith(
        f'BALANCER_TLS__ACME__STORAGE: "{folder}" cannot be written to; let the user with'
    )


def test_without_the_package_there_is_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("balancer.config.acme_files.find_spec", lambda name: None)
    assert problem(tmp_path) == (
        "BALANCER_TLS__ACME__DOMAINS: needs the package acme; install it: pip install 'balancer[acme]'"
    )


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        pytest.param("EMAIL", "ops", "is not an e-mail address", id="no e-mail address"),
        pytest.param("EMAIL", "a@b.example, c@d.example", "is not an e-mail address", id="two"),
        pytest.param("DIRECTORY_URL", "http://ca.test/dir", "is not an https URL", id="plain http"),
        pytest.param("DIRECTORY_URL", "https:///dir", "is not an https URL", id="no host"),
        pytest.param("DIRECTORY_URL", "https://a:b@ca.test/", "has a user name in it", id="a password"),
        pytest.param("DIRECTORY_URL", "https://ca.test:x/", "is not an https URL", id="a port that is none"),
        pytest.param("CA", "/nowhere.pem", "cannot be read (no such file or directory)", id="no file"),
    ],
)
def test_other_mistakes(tmp_path: Path, setting: str, value: str, why: str) -> None:
    assert problem(tmp_path, **{setting: value}).startswith(f'BALANCER_TLS__ACME__{setting}: "{value}" {why}')


def test_a_mailto_prefix_is_not_part_of_the_address(tmp_path: Path) -> None:
    assert loaded(tmp_path, EMAIL="mailto:ops@shop.example").settings.tls.acme.email == "ops@shop.example"


def test_without_domains_the_other_settings_have_no_effect() -> None:
    environ = {"BALANCER_UPSTREAMS": "app:8000", "BALANCER_TLS__ACME__EMAIL": "ops@shop.example"}
    assert load_with_origins(environ).warnings == (
        'BALANCER_TLS__ACME__EMAIL: "ops@shop.example" has no effect while there is no domain; set '
        "TLS__ACME__DOMAINS to names, or remove this",
    )


def test_each_directory_url_has_a_folder_of_its_own() -> None:
    urls = [LETS_ENCRYPT, LETS_ENCRYPT + "/", "https://ca.test:14000/dir", "https://[::1]:1/../dir"]
    folders = [AcmeSettings(directory_url=url, storage="/s").folder for url in urls]
    assert len(set(folders)) == len(urls)
    assert folders[0].startswith("/s/acme-v02.api.letsencrypt.org-")
    assert all(os.path.dirname(folder) == "/s" for folder in folders)


@pytest.mark.parametrize("name", ["shop", "shop.localhost", "shop.internal", "shop.local"])
def test_a_name_that_no_public_authority_signs_is_warned_about(tmp_path: Path, name: str) -> None:
    (text,) = loaded(tmp_path, f"shop.example,{name}").warnings
    assert text.startswith(f"no certificate for {name} can be issued: ")
    own = "https://ca.internal/acme/acme/directory"
    assert loaded(tmp_path, f"shop.example,{name}", DIRECTORY_URL=own).warnings == ()


def test_names_that_are_not_separated_by_commas(tmp_path: Path) -> None:
    assert "put commas between them: a.example,b.example" in problem(tmp_path, "a.example; b.example")
