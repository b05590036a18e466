"""The token with which apps register themselves is for one pool, and never shown."""

from pathlib import Path

import pytest

from balancer.config.export import export
from balancer.config.loader import load, load_with_origins
from balancer.config.types import MASK
from balancer.errors import SettingsError
from balancer.runtime.planning import plan

TOKEN = "BALANCER_REGISTRATION__TOKEN"
FILE = "BALANCER_REGISTRATION__TOKEN_FILE"
API = "BALANCER_POOLS__API__UPSTREAMS"
UPSTREAMS = {"BALANCER_UPSTREAMS": "a:1"}


def tokens(**environ: str) -> dict[str, str]:
    return dict(plan(load_with_origins(environ), 65536).registration_tokens)


def test_without_a_token_nobody_registers_by_one() -> None:
    assert tokens(**UPSTREAMS) == {}


def test_a_token_is_for_the_pool_that_it_is_set_for(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fr0m-file\n")
    assert tokens(**UPSTREAMS, **{TOKEN: "t0p", API: "b:1", "BALANCER_ROUTES": "/a/=api,/=default"}) == {
        "default": "t0p"
    }
    of_api = {"BALANCER_POOLS__API__REGISTRATION__TOKEN_FILE": str(tmp_path / "token")}
    routes = {"BALANCER_ROUTES": "/a/=api,/=default"}
    assert tokens(**UPSTREAMS, **{TOKEN: "t0p", API: "b:1"}, **of_api, **routes) == {
        "default": "t0p",
        "api": "fr0m-file",
    }


def test_a_pool_that_apps_join_needs_no_upstream() -> None:
    assert load({TOKEN: "t0p"}).upstreams == ()
    assert tokens(**{TOKEN: "t0p"}) == {"default": "t0p"}
    assert tokens(**{"BALANCER_POOLS__API__REGISTRATION__TOKEN": "t0p"}) == {"api": "t0p"}


def test_it_is_masked() -> None:
    shown = export(load_with_origins({**UPSTREAMS, TOKEN: "s3cret"}))
    assert shown.settings["registration"]["token"] == MASK
    assert "s3cret" not in repr(shown)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        pytest.param(
            {TOKEN: "a", FILE: "/b"},
            f'{FILE}: "/b" is set together with REGISTRATION__TOKEN; keep one of them',
            id="both",
        ),
        pytest.param(
            {TOKEN: MASK},
            f"{TOKEN}: ********** is the mask that replaces a secret in output; write the secret itself",
            id="mask",
        ),
        pytest.param(
            {TOKEN: "a b"},
            f"{TOKEN}: ********** has characters that a header cannot carry; write visible ASCII, without "
            "spaces",
            id="space",
        ),
        pytest.param(
            {FILE: "/nowhere/token"},
            f'{FILE}: "/nowhere/token" cannot be read (no such file or directory); correct the path or mount '
            "the file",
            id="no file",
        ),
        pytest.param(
            {TOKEN: "same", "BALANCER_ADMIN_TOKEN": "same"},
            f"{TOKEN}: is also the ADMIN_TOKEN, which allows any change; choose another",
            id="admin's",
        ),
    ],
)
def test_mistakes_are_named_with_their_remedy(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({**UPSTREAMS, **environ})
    assert list(raised.value.problems) == [problem]
