"""Certificates in `balancer status` and `balancer check`."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

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


def test_an_expired_one_and_changes_that_are_not_used_are_said() -> None:
    lines = shown(certificate(not_after="2026-01-31T12:00:00.000Z", problem="/run/site.key does not fit"))
    assert lines[2].endswith("2026-01-31 (expired)")
    assert lines[3] == "/run/site.pem: changed files are not used: /run/site.key does not fit"


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
