"""STICKY: accepted values, values that no browser would accept, and values without effect."""

import json
from pathlib import Path

import pytest

from balancer.config.loader import load, load_with_origins
from balancer.config.sticky import NO_SECRET
from balancer.errors import SettingsError

ON = {"BALANCER_UPSTREAMS": "app1:8000", "BALANCER_STICKY__ENABLED": "true"}
_NO_TOKEN = "has characters that a cookie name cannot have; write letters, digits, _ and -"
_NO_AGE = "is not a cookie age; write session, or whole seconds up to 9600h: 30m, 12h"
_NEEDS_SECURE = "is refused by browsers without Secure; set STICKY__SECURE to true"
_IS_OURS = "applies to the balancer's own cookie, which STICKY__APP_COOKIE (SID) replaces; remove one of them"
_NO_DOMAIN = "is not a cookie domain; write a name such as example.com, without a leading dot"


def problems(**settings: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(ON | {f"BALANCER_{name}": value for name, value in settings.items()})
    return caught.value.problems


AGES = {"session": 0, " Session ": 0, "1s": 1, "30m": 1800, "9600h": 34_560_000}


@pytest.mark.parametrize("text", AGES)
def test_max_age_is_parsed(text: str) -> None:
    assert load({**ON, "BALANCER_STICKY__MAX_AGE": text}).sticky.max_age == AGES[text]


def test_a_secret_is_text_whatever_it_looks_like() -> None:
    assert load({**ON, "BALANCER_STICKY__SECRET": "123"}).sticky.secret.get_secret_value() == "123"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param({}, (NO_SECRET,), id="no secret"),
        pytest.param({"STICKY__APP_COOKIE": "SID"}, (NO_SECRET,), id="no secret, by the app's cookie"),
        pytest.param({"STICKY__SECRET": "s3cret"}, (), id="a secret"),
        pytest.param({"STICKY__ENABLED": "false"}, (), id="off"),
    ],
)
def test_a_missing_secret_is_reported_with_its_benefit(
    settings: dict[str, str], told: tuple[str, ...]
) -> None:
    environ = ON | {f"BALANCER_{name}": value for name, value in settings.items()}
    assert load_with_origins(environ).warnings == told


REFUSED = {
    "a name with a space": ("STICKY__COOKIE", {"STICKY__COOKIE": "a b"}, '"a b" ' + _NO_TOKEN),
    "an app cookie with =": ("STICKY__APP_COOKIE", {"STICKY__APP_COOKIE": "a="}, '"a=" ' + _NO_TOKEN),
    "an age of nothing": ("STICKY__MAX_AGE", {"STICKY__MAX_AGE": "0"}, '"0" ' + _NO_AGE),
    "an age of half a second": ("STICKY__MAX_AGE", {"STICKY__MAX_AGE": "500ms"}, '"500ms" ' + _NO_AGE),
    "an age beyond browsers": ("STICKY__MAX_AGE", {"STICKY__MAX_AGE": "9601h"}, '"9601h" ' + _NO_AGE),
    "an unknown SameSite": (
        "STICKY__SAME_SITE",
        {"STICKY__SAME_SITE": "loose"},
        "\"loose\" is not known; write 'lax', 'strict' or 'none'",
    ),
    "SameSite none without Secure": (
        "STICKY__SAME_SITE",
        {"STICKY__SAME_SITE": "None"},
        f'"None" {_NEEDS_SECURE}',
    ),
    "__Secure- without Secure": (
        "STICKY__COOKIE",
        {"STICKY__COOKIE": "__Secure-pin"},
        f'"__Secure-pin" {_NEEDS_SECURE}',
    ),
    "__secure- without Secure": (
        "STICKY__COOKIE",
        {"STICKY__COOKIE": "__secure-pin"},
        f'"__secure-pin" {_NEEDS_SECURE}',
    ),
    "__Host- with a path": (
        "STICKY__COOKIE",
        {"STICKY__COOKIE": "__Host-pin", "STICKY__SECURE": "true", "STICKY__PATH": "/shop"},
        '"__Host-pin" is refused by browsers with a path or a domain; remove STICKY__PATH and '
        "STICKY__DOMAIN, or choose another name",
    ),
    "a path with an attribute in it": (
        "STICKY__PATH",
        {"STICKY__PATH": "/;Secure"},
        '"/;Secure" is not a cookie path; write / or /shop, without semicolons',
    ),
    "a path with a line break": (
        "STICKY__PATH",
        {"STICKY__PATH": "/a\r\nX: y"},
        '"/a\\r\\nX: y" is not a cookie path; write / or /shop, without semicolons',
    ),
    "a domain with an attribute in it": (
        "STICKY__DOMAIN",
        {"STICKY__DOMAIN": "a.example; Path=/x"},
        f'"a.example; Path=/x" {_NO_DOMAIN}',
    ),
    "a leading dot": ("STICKY__DOMAIN", {"STICKY__DOMAIN": ".a.example"}, f'".a.example" {_NO_DOMAIN}'),
    "an address as domain": ("STICKY__DOMAIN", {"STICKY__DOMAIN": "10.0.0.1"}, f'"10.0.0.1" {_NO_DOMAIN}'),
    "app cookie and a cookie": (
        "STICKY__COOKIE",
        {"STICKY__APP_COOKIE": "SID", "STICKY__COOKIE": "pin"},
        f'"pin" {_IS_OURS}',
    ),
    "app cookie and an attribute": (
        "STICKY__SECURE",
        {"STICKY__APP_COOKIE": "SID", "STICKY__SECURE": "true"},
        f'"true" {_IS_OURS}',
    ),
    "a hash key that is taken out": (
        "HASH_KEY",
        {"POLICY": "consistent_hash", "HASH_KEY": "cookie:pin", "STICKY__COOKIE": "pin"},
        '"cookie:pin" is the balancer\'s own cookie (STICKY__COOKIE); name another cookie',
    ),
    "the mask as secret": (
        "STICKY__SECRET",
        {"STICKY__SECRET": "**********"},
        "********** is the mask that replaces a secret in output; write the secret itself",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_sticky_settings_are_refused(case: str) -> None:
    variable, settings, text = REFUSED[case]
    (problem,) = problems(**settings)
    place, _, rest = problem.partition(": ")
    assert rest == text
    assert place == f"BALANCER_{variable}"


@pytest.mark.parametrize("secret", [{"a": "s3cret"}, ["s3cret"]])
def test_an_invalid_secret_is_not_quoted(tmp_path: Path, secret: object) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps({"upstreams": ["a:1"], "sticky": {"enabled": True, "secret": secret}}))
    with pytest.raises(SettingsError) as caught:
        load({}, str(file))
    (problem,) = caught.value.problems
    assert problem.endswith("sticky.secret: ********** is not text; put it in quotes")


def test_settings_without_effect_are_reported_while_stickiness_is_off() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"BALANCER_UPSTREAMS": "a:1", "BALANCER_STICKY__SECRET": "s3cret"})
    assert caught.value.problems == [
        (
            "BALANCER_STICKY__SECRET: ********** has no effect while sticky sessions are off; set "
            "STICKY__ENABLED to true, or remove it"
        )
    ]


def test_if_stickiness_is_turned_off_explicitly_its_settings_may_stay() -> None:
    settings = load(ON | {"BALANCER_STICKY__ENABLED": "false", "BALANCER_STICKY__COOKIE": "pin"})
    assert (settings.sticky.enabled, settings.sticky.cookie) == (False, "pin")
