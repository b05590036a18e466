"""No message misleads: common mistakes are answered with whole sentences that lead to the right setting."""

from pathlib import Path

import pytest

from balancer.config.loader import load
from balancer.errors import SettingsError
from balancer.policies import registry

UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}
IS_V6 = "is an IPv6 address without brackets"
HAS_ZONE = (
    "is a link-local address with a zone, which upstreams cannot have; write another address of the replica"
)
QUOTES = "has quotes that are part of the value; remove them"
DURATIONS = "is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h, 1d"


def problems(environ: dict[str, str], file: Path | None = None) -> list[str]:
    """The report on these settings, empty if they are valid."""
    try:
        load(environ, str(file) if file else None, registry)
    except SettingsError as error:
        return error.problems
    return []


# An upstream as written, and the report.
ADDRESSES = {
    "[fe80::1%eth0]:8000": HAS_ZONE,
    "fe80::1%eth0": HAS_ZONE,
    "http://[fe80::1%25eth0]:80": HAS_ZONE,
    "[::1": "has a bracket that is not closed; write [::1]:8000",
    "[::1:8000": "has a bracket that is not closed; write [::1]:8000, or [::1:8000]:8000 if all of it is the "
    "address",
    "[::1]": "has no port; write [::1]:8000",
    "[::1]8000": "is not host:port; write app1:8000, 10.0.0.2:8000 or [::1]:8000",
    "[app1:8000]": 'is not valid JSON; write app1:8000 or ["app1:8000"]',
    "[app1:8000, app2:8000]": 'is not valid JSON; write app1:8000,app2:8000 or ["app1:8000", "app2:8000"]',
    "['a:1']": 'is not valid JSON; write a:1 or ["a:1"]',
    "::1": f"{IS_V6}; write [::1]:8000",
    "::1:8000": f"{IS_V6}; write [::1]:8000, or [::1:8000]:8000 if all of it is the address",
    "2001:db8::1": f"{IS_V6}; write [2001:db8::1]:8000",
    "1:2:3:4:5:6:7:8:8000": f"{IS_V6}; write [1:2:3:4:5:6:7:8]:8000",
    "//app:80": "begins with a slash; write app:80",
    "/app:80": "begins with a slash; write app:80",
    "/run/app.sock": "is a path; for a unix socket write unix:/run/app.sock",
    "unix:run/app.sock": "is no path of a unix socket; write unix:/run/app.sock",
    "unix:/run/": "is no path of a unix socket; write unix:/run/app.sock",
    "unix:/run/app.sock?refresh=1s": "has the option refresh, which only dns:// takes; remove it",
    "http:/app:80": "has no :// behind its scheme; write http://app:80",
    "http:app:80": "has no :// behind its scheme; write http://app:80",
    "http//app:80": "has no :// behind its scheme; write http://app:80",
    "dns:app:80": "has no :// behind its scheme; write dns://app:80",
    "a:1 b:2": "is more than one upstream; put commas between them: a:1,b:2",
    "a:1;b:2": "is more than one upstream; put commas between them: a:1,b:2",
    "a:1&weight=3": "has its options without a question mark; write a:1?weight=3",
    "a:1 weight=3": "has its options without a question mark; write a:1?weight=3",
    "8000": "is a port without a name; write app1:8000",
    "${APP}:80": "contains a variable that was not replaced; write the name itself",
    "$APP": "contains a variable that was not replaced; write the name itself",
    "'app1:8000'": QUOTES,
    "a:1?weight=0": "has the weight 0; leave it out, or take it out of a running balancer with balancer "
    "maintenance",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_a_malformed_upstream_is_reported_with_the_right_form(text: str) -> None:
    (problem,) = problems({"BALANCER_UPSTREAMS": text})
    assert problem == f'BALANCER_UPSTREAMS: "{text}" {ADDRESSES[text]}'


@pytest.mark.parametrize(
    "text", ["httpbin:80", "http-app:80", "dns1:53", "http:80", "dnsmasq:8000", "[::]:80"]
)
def test_an_upstream_name_that_only_looks_like_a_mistake_is_accepted(text: str) -> None:
    assert problems({"BALANCER_UPSTREAMS": text}) == []


# Setting, value as written, report.
MISTAKES = [
    ("LISTEN", "80", '"80" is a port without an address; write 0.0.0.0:80'),
    ("LISTEN", "http://0.0.0.0:80/", '"http://0.0.0.0:80/" is a URL; write 0.0.0.0:80'),
    ("LISTEN", "[::]", '"[::]" has no port; write [::]:8080'),
    ("LISTEN", "::1:80", f'"::1:80" {IS_V6}; write [::1]:80, or [::1:80]:8000 if all of it is the address'),
    ("LISTEN", ":http", '":http" is not host:port; write 0.0.0.0:8080'),
    (
        "LISTEN",
        "unix:/x",
        '"unix:/x" is a unix socket, which only upstreams can be; write 0.0.0.0:8080',
    ),
    (
        "LISTEN",
        "0.0.0.0:80,[::]:80",
        '"0.0.0.0:80,[::]:80" is more than one address; write one: with IPv6, [::]:8080 accepts IPv4 as well',
    ),
    ("ADMIN_LISTEN", "127.0.0.1", '"127.0.0.1" has no port; write 127.0.0.1:9901'),
    ("ADMIN_LISTEN", "9901", '"9901" is a port without an address; write 127.0.0.1:9901'),
    (
        "ADMIN_LISTEN",
        "off",
        '"off" is not an address, and a listener cannot be turned off; write 127.0.0.1:9901',
    ),
    (
        "STICKY__MAX_AGE",
        "12h",
        '"12h" has no effect while sticky sessions are off; set STICKY__ENABLED to true, or remove it',
    ),
    (
        "HEALTH_CHECK__HEADERS",
        "Host: x",
        '********** is not valid JSON; write an object such as {"Host": "app.example"}',
    ),
    (
        "HEALTH_CHECK__HEADERS",
        "Authorization: Basic eDp5",
        '********** is not valid JSON; write an object such as {"Authorization": "..."}',
    ),
    (
        "HEALTH_CHECK__HEADERS",
        '{"X-Number": 1}',
        "********** has a value of X-Number that is not text; put it in quotes",
    ),
    ("HEALTH_CHECK__HEADERS", '\'{"Host": "x"}\'', f"********** {QUOTES}"),
    ("HEALTH_CHECK__PATH", "http://app:8000/up", '"http://app:8000/up" is a URL; write its path alone: /up'),
    (
        "HEALTH_CHECK__EXPECT",
        "2xx",
        ('"2xx" has an item that is neither a status nor a range (2xx); write 200-299'),
    ),
    ("RETRY__STATUSES", "5xx", '"5xx" has a range of statuses (5xx); write each of them: 502,503'),
    (
        "RETRY__STATUSES",
        "none",
        ('"none" has an item that is not an error status (none); write 502,503, or [] for none'),
    ),
    ("RETRY__BUDGET_RATIO", "20%", '"20%" is not a number; write 0.2'),
    ("POLICY_OPTIONS", "choices=2", '"choices=2" is not valid JSON; write {"choices": 2}'),
    ("WORKERS", "010", '"010" begins with 0, which some programs read as octal; write 10 or 8'),
    ("WORKERS", "08", '"08" begins with 0, which some programs read as octal; write 8'),
    ("WORKERS", "1_0", '"1_0" is not a whole number'),
    (
        "KEEPALIVE__MAX_REQUESTS",
        "99999999999999999999",
        '"99999999999999999999" is too large; the maximum is 9007199254740992',
    ),
    ("LIMITS__BODY_BYTES", "999999999999G", '"999999999999G" is too large; the maximum is 8388608G'),
    ("WORKERS", "2.0", '"2.0" is not a whole number'),
    ("LIMITS__MAX_CONNECTIONS", "20_000", '"20_000" is not a whole number; write 20000'),
    ("LIMITS__MAX_CONNECTIONS", "20,000", '"20,000" is not a whole number; write 20000'),
    (
        "LIMITS__BODY_BYTES",
        "unlimited",
        '"unlimited" is not a size; if the setting may have no cap, write 0',
    ),
    ("TIMEOUTS__IDLE", "off", '"off" is not a duration; if the time can be turned off, 0 does that'),
    ("TIMEOUTS__IDLE", "010s", '"010s" begins with 0, which some programs read as octal; write 10 or 8'),
    ("TIMEOUTS__IDLE", "1:30", f'"1:30" {DURATIONS}'),
    ("TIMEOUTS__IDLE", '"30s"', f'"\\"30s\\"" {QUOTES}'),
    (
        "ACCESS_LOG__FIELDS",
        "time status",
        '["time status"] has no commas between its fields; write time,status',
    ),
    (
        "ACCESS_LOG__FIELDS",
        "all,time",
        '["all", "time"] combines all with field names; write all alone, or only the names',
    ),
    ("HEALTH_CHECK__HOST", "x", "no such setting; did you mean BALANCER_HEALTH_CHECK__HEADERS?"),
    (
        "HEALTH_CHECK__METHOD",
        "HEAD",
        "no such setting; its group has ENABLED, PATH, INTERVAL, TIMEOUT, RISE, FALL, EXPECT, BODY, PORT, "
        "HEADERS, DRAIN_STATUS",
    ),
    ("TIMEOUTS__READ", "1s", "no such setting; did you mean BALANCER_TIMEOUTS__FIRST_BYTE?"),
    ("BACKENDS", "a:1", "no such setting; did you mean BALANCER_UPSTREAMS?"),
    ("ADMIN_PORT", "9901", "no such setting; did you mean BALANCER_ADMIN_LISTEN?"),
    ("THREADS", "4", "no such setting; did you mean BALANCER_WORKERS?"),
    ("LOG_FORMAT", "json", "no such setting; did you mean BALANCER_ACCESS_LOG__FORMAT?"),
]


@pytest.mark.parametrize(
    ("setting", "value", "said"), MISTAKES, ids=[f"{one[0]}={one[1]}" for one in MISTAKES]
)
def test_a_malformed_setting_is_reported_with_the_right_form(setting: str, value: str, said: str) -> None:
    assert problems({**UPSTREAMS, f"BALANCER_{setting}": value}) == [f"BALANCER_{setting}: {said}"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("RETRY__METHODS", "GET,VERSION-CONTROL"), ("LISTEN", "*:80"), ("RETRY__BUDGET_RATIO", "0.25")],
)
def test_unambiguous_spellings_are_accepted(setting: str, value: str) -> None:
    assert problems({**UPSTREAMS, f"BALANCER_{setting}": value}) == []


def test_a_hash_key_accepts_the_usual_spellings_of_a_header() -> None:
    environ = {**UPSTREAMS, "BALANCER_POLICY": "consistent_hash", "BALANCER_HASH_KEY": "Header: X-User"}
    assert load(environ, policies=registry).hash_key == "header:X-User"


# Every text setting, with the white space that a secret file or a heredoc appends.
TEXTS = {
    "ADMIN_TOKEN": ("admin_token", "s3cret"),
    "POLICY": ("policy", "consistent_hash"),
    "HASH_KEY": ("hash_key", "path"),
    "LISTEN": ("listen", "127.0.0.1:8080"),
    "ADMIN_LISTEN": ("admin_listen", "127.0.0.1:9902"),
    "LOG_LEVEL": ("log_level", "debug"),
    "WORKERS": ("workers", "2"),
    "PANIC": ("panic", "off"),
    "HEALTH_CHECK__PATH": ("health_check.path", "/up"),
    "HEALTH_CHECK__BODY": ("health_check.body", "all is well"),
    "STICKY__SECRET": ("sticky.secret", "s3cret"),
    "STICKY__COOKIE": ("sticky.cookie", "pin"),
    "STICKY__DOMAIN": ("sticky.domain", "a.example"),
    "STICKY__PATH": ("sticky.path", "/shop"),
    "STICKY__SAME_SITE": ("sticky.same_site", "strict"),
    "STICKY__MAX_AGE": ("sticky.max_age", "12h"),
    "TRUSTED_PROXIES": ("trusted_proxies", "10.0.0.0/8"),
    "UPSTREAMS": ("upstreams", "b:2"),
    "TIMEOUTS__IDLE": ("timeouts.idle", "30s"),
    "LIMITS__BODY_BYTES": ("limits.body_bytes", "64M"),
}


@pytest.mark.parametrize("variable", TEXTS)
def test_white_space_around_a_value_is_ignored(tmp_path: Path, variable: str) -> None:
    key, value = TEXTS[variable]
    base = {**UPSTREAMS, "BALANCER_STICKY__ENABLED": "true"}
    clean = load({**base, f"BALANCER_{variable}": value})
    assert clean != load(base)
    assert load({**base, f"BALANCER_{variable}": f" {value}\n"}) == clean
    group, _, name = key.rpartition(".")
    file = tmp_path / "settings.yaml"
    line = f"{name}: |\n    {value}\n"
    file.write_text(f"{group}:\n  {line}" if group else line)
    del base["BALANCER_UPSTREAMS"]
    if variable != "UPSTREAMS":
        base = {**UPSTREAMS, **base}
    assert load(base, str(file)).model_copy(update={"config": None}) == clean


def test_white_space_around_a_field_of_the_checks_is_ignored(tmp_path: Path) -> None:
    environ = {**UPSTREAMS, "BALANCER_HEALTH_CHECK__HEADERS": '{"Authorization": "Basic eDp5\\n"}\n'}
    assert load(environ).health_check.headers == {"Authorization": "Basic eDp5"}
    file = tmp_path / "settings.yaml"
    file.write_text("health_check:\n  headers:\n    Authorization: |\n      Basic eDp5\n")
    assert load(UPSTREAMS, str(file)).health_check.headers == {"Authorization": "Basic eDp5"}
