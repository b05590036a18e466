"""Fields that only a trusted proxy may send: names added and removed, and their documentation."""

import re
from pathlib import Path

import pytest

from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND
from balancer.config.loader import load
from balancer.errors import OperatorError
from balancer.http.fields import DROP, FORWARDING, REQUEST_KINDS

_DOCS = Path(__file__).parents[2] / "docs/settings.md"
_DROPPED = "which is dropped anyway; remove it"
_PASSED = "which is passed on anyway; remove it"


def _loaded(**changes: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    environ = {f"BALANCER_FORWARDED__{name.upper()}": value for name, value in changes.items()}
    settings = load({"BALANCER_UPSTREAMS": "app:1", **environ})
    return settings.forwarded.told, settings.forwarded.kept


def test_names_are_lower_case() -> None:
    told, kept = _loaded()
    assert told == tuple(name.lower() for name in ONLY_PROXIES_MAY_SEND)
    assert kept == ()
    assert len(set(told)) == len(told)


def test_names_and_patterns_are_added_and_names_are_removed() -> None:
    told, kept = _loaded(drop="X-Acme-User, X-ACME-Group-*", keep="X-Forwarded-Prefix,x_acme_group_id")
    assert told[-2:] == ("x-acme-user", "x-acme-group-*")
    assert kept == ("x-forwarded-prefix", "x_acme_group_id")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"drop": "X Acme"}, "has an invalid header field name (X Acme)", id="no name"),
        pytest.param({"drop": "X-*-User"}, "has an invalid header field name (X-*-User)", id="star inside"),
        pytest.param({"drop": "*"}, "has an invalid header field name (*)", id="star alone"),
        pytest.param({"drop": "Host"}, "has Host, but host is needed", id="needed"),
        pytest.param({"drop": "Co*"}, "has Co*, but connection is needed", id="pattern of needed ones"),
        pytest.param({"drop": "X-Request-ID"}, "but x-request-id is needed", id="an id"),
        pytest.param({"drop": "x-forwarded-foo"}, _DROPPED, id="dropped by pattern"),
        pytest.param({"drop": "True_Client_IP"}, _DROPPED, id="dropped by name"),
        pytest.param({"drop": "Forwarded"}, _DROPPED, id="set by the balancer"),
        pytest.param({"drop": "Client-Cert"}, _DROPPED, id="always dropped"),
        pytest.param({"keep": "X-Acme"}, _PASSED, id="passed on"),
        pytest.param({"keep": "X-Request-ID"}, _PASSED, id="passed on if sensible"),
        pytest.param({"keep": "X-Forwarded-*"}, "write out the names", id="kept by pattern"),
        pytest.param({"keep": "x-forwarded-for"}, "add that proxy to TRUSTED_PROXIES", id="kept, set here"),
        pytest.param(
            {"keep": "X_Real_IP"}, "add that proxy to TRUSTED_PROXIES", id="kept look-alike, set here"
        ),
        pytest.param({"keep": "Proxy"}, "never passed on", id="never"),
        pytest.param({"keep": "X-A", "drop": "x-a"}, "which FORWARDED__DROP has too", id="in both"),
    ],
)
def test_a_useless_or_harmful_change_is_an_error(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(OperatorError, match=re.escape(problem)):
        _loaded(**changes)


def test_fields_set_or_never_forwarded_by_the_balancer_are_not_in_the_list() -> None:
    special = {name.decode() for name, kind in REQUEST_KINDS.items() if kind in (FORWARDING, DROP)}
    told, _ = _loaded()
    assert not special & set(told)


def test_the_docs_list_all_of_them() -> None:
    section = (
        _DOCS.read_text(encoding="utf-8").partition("| what they state | names |")[2].partition("\n\n")[0]
    )
    names = [name for row in section.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row)]
    assert tuple(names) == ONLY_PROXIES_MAY_SEND
