"""Certificates in `balancer status` and `balancer check`."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group

from balancer.config.loader import load_with_origins
from balancer.console.certificates import in_use
from balancer.console.settings import print_settings
from tests.fakes.certificates import pair_in

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


def certificate(**other: Any) -> dict[str, Any]:
    return {
        "name": "/run/site.pem",
        "names": ["shop.example", "*.shop.example"],
        "issuer": "R10",
        "not_after": "2026-05-02T12:00:00.000Z",
        "problem": "",
        "acme": None,
        "pools": [],
        **other,
    }


def shown(*certificates: dict[str, Any], width: int = 100) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, highlight=False)
    console.print(Group(*in_use({"certificates": list(certificates)}, NOW)))
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def test_a_row_has_the_names_the_issuer_and_the_end() -> None:
    heading, _, row = shown(certificate())
    assert heading == "certificate names issuer until"
    assert row == "/run/site.pem shop.example, *.shop.example R10 2026-05-02 (90 d)"


def test_one_for_upstreams_names_the_pools() -> None:
    row = shown(certificate(pools=["default", "api"]), width=140)[2]
    assert row.startswith("/run/site.pem (to upstreams of default, api) ")


def test_an_expired_one_and_changes_that_are_not_used_are_said() -> None:
    lines = shown(certificate(not_after="2026-01-31T12:00:00.000Z", problem="/run/site.key does not fit"))
    assert lines[2].endswith("2026-01-31 (expired)")
    assert lines[3] == "/run/site.pem: changed files are not used: /run/site.key does not fit"


@pytest.mark.parametrize(
    ("state", "when", "failures", "cell"),
    [
        pytest.param("issued", "2026-04-02T12:00:00.000Z", 0, "2026-04-02", id="in weeks"),
        pytest.param("issued", "2026-02-01T13:00:00.000Z", 0, "13:00:00 UTC", id="today"),
        pytest.param("awaited", "2026-02-01T12:00:00.000Z", 0, "now", id="now"),
        pytest.param("ordering", "2026-02-01T14:00:00.000Z", 0, "now", id="while it is ordered"),
        pytest.param("failed", "2026-02-01T13:00:00.000Z", 2, "13:00:00 UTC, after 2 failures", id="failed"),
    ],
)
def test_automatic_ones_have_the_time_of_the_next_order(
    state: str, when: str, failures: int, cell: str
) -> None:
    acme = {"state": state, "next_order": when, "failures": failures, "error": ""}
    heading, _, row, other = shown(certificate(acme=acme, name="shop.example"), certificate(), width=140)
    assert heading == "certificate names issuer until next order"
    assert row == f"shop.example shop.example, *.shop.example R10 2026-05-02 (90 d) {cell}"
    assert other.endswith("(90 d) -")


def test_what_the_authority_says_is_shown() -> None:
    acme = {
        "state": "failed",
        "next_order": "2026-02-01T13:00:00.000Z",
        "failures": 1,
        "error": "ca.test says: CAA forbids it (caa)",
    }
    lines = shown(certificate(acme=acme, name="shop.example"))
    assert lines[-1] == "shop.example: no new certificate: ca.test says: CAA forbids it (caa)"


def test_nothing_is_shown_without_a_tls_listener() -> None:
    assert shown() == []


def test_check_shows_the_certificates(tmp_path: Path) -> None:
    first, key = pair_in(tmp_path)
    environ = {"BALANCER_UPSTREAMS": "app:8000", "BALANCER_TLS__CERTIFICATES": f"{first}:{key}"}
    file = StringIO()
    print_settings(load_with_origins(environ), Console(file=file, width=300, highlight=False))
    text = file.getvalue()
    (row,) = [line for line in text.splitlines() if line.startswith(f" {first} ")]
    assert " shop.example " in row
    assert " Testing CA #" in row
    assert "clients connect to 0.0.0.0:8080, over TLS to 0.0.0.0:8443." in text


def test_check_says_what_would_be_ordered(tmp_path: Path) -> None:
    environ = {
        "BALANCER_UPSTREAMS": "app:8000",
        "BALANCER_TLS__ACME__DOMAINS": "shop.example,help.example",
        "BALANCER_TLS__ACME__STORAGE": str(tmp_path),
    }
    file = StringIO()
    print_settings(load_with_origins(environ), Console(file=file, width=300, highlight=False))
    assert (
        "Ordered and renewed by https://acme-v02.api.letsencrypt.org/directory: shop.example, help.example. "
        "Ordered at the start: shop.example, help.example. The authority was not asked."
    ) in file.getvalue()
    assert list(tmp_path.iterdir()) == []
