"""A settings file is read as people read it, and mistakes are reported with a fitting remedy."""

from pathlib import Path

import pytest

from balancer.config.loader import load
from balancer.errors import SettingsError
from balancer.policies import registry

UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}
OCTAL = "begins with 0, which some programs read as octal; write"
DURATIONS = "is not a duration; write seconds (2, 0.5) or 500ms, 2s, 1m, 1h, 1d"
IN_QUOTES = "put text that begins with {} in quotes"
INDENT = "begin the lines of one group at the same column"
COLON = f"put text with a colon and a space in it in quotes, and {INDENT}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def problems(file: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(UPSTREAMS, str(file), registry)
    return caught.value.problems


SCALARS = [
    ("workers: 010", f'workers: "010" {OCTAL} 10 or 8'),
    ("workers: 0x10", 'workers: "0x10" is not a whole number'),
    ("workers: 0b1", 'workers: "0b1" is not a whole number'),
    ("workers: 1_0", 'workers: "1_0" is not a whole number'),
    (
        "limits: {body_bytes: 1_000}",
        'limits.body_bytes: "1_000" is not a size; write bytes (8192) or 8k, 64M, 1G (k = 1024)',
    ),
    ("health_check: {interval: 1_0}", f'health_check.interval: "1_0" {DURATIONS}'),
    ("timeouts: {connect: 1:30}", f'timeouts.connect: "1:30" {DURATIONS}'),
    ("timeouts: {connect: .5}", f'timeouts.connect: ".5" {DURATIONS}'),
    ("timeouts: {connect: .inf}", f'timeouts.connect: ".inf" {DURATIONS}'),
    ("health_check: {drain_status: 0503}", f'health_check.drain_status: "0503" {OCTAL} 503 or 323'),
    (
        "retry: {statuses: [0502]}",
        (
            'retry.statuses: ["0502"] has an item that is not an error status (0502); write 502,503, '
            "or [] for none"
        ),
    ),
    ("log_level: off", "log_level: \"off\" is not known; write 'debug', 'info', 'warning' or 'error'"),
    ("sticky: {enabled: 010}", 'sticky.enabled: "010" is not a boolean; write true or false'),
    ("access_log: off", "access_log: is a group, not a setting; write access_log: {enabled: off}"),
    ("timeouts: off", "timeouts: is a group, not a setting; write its settings indented below it"),
]


@pytest.mark.parametrize(("content", "said"), SCALARS, ids=[content for content, _ in SCALARS])
def test_yaml_that_is_not_read_as_written_is_reported(file: Path, content: str, said: str) -> None:
    file.write_text(content)
    assert problems(file) == [f"{file}: {said}"]


# The file, the line of the mistake, the parser's words, the remedy.
BROKEN = [
    (
        "a: [",
        1,
        "expected the node content, but found '<stream end>'",
        "something is missing at the end: a bracket, or the settings themselves",
    ),
    (
        "\nupstreams: [a:1\n\n",
        2,
        "expected ',' or ']', but got '<stream end>'",
        "close the bracket that was opened here",
    ),
    (
        "upstreams: [a:1?weight=2]",
        1,
        "expected ',' or ']', but got '?'",
        "in brackets, put text with a question mark in quotes",
    ),
    (
        "policy: 'x\nworkers: 1\n",
        1,
        "found unexpected end of stream",
        "close the quotes that were opened here",
    ),
    (
        'policy: "\\d"',
        1,
        "found unknown escape character 'd'",
        "use single quotes: in double ones a backslash begins an escape",
    ),
    ('policy: "a" b', 1, "expected <block end>, but found '<scalar>'", "put the whole text in the quotes"),
    (
        "policy: @x",
        1,
        "found character '@' that cannot start any token",
        IN_QUOTES.format("this character"),
    ),
    ("policy: *x", 1, "found undefined alias 'x'", IN_QUOTES.format("*")),
    (
        "policy: &a [*a]",
        1,
        "found unconstructable recursive node",
        f"an alias cannot stand for what it is in; {IN_QUOTES.format('*')}",
    ),
    (
        "routes:\n  - *.example.com=web",
        2,
        "expected alphabetic or numeric character, but found '.'",
        'it begins with * or &: put quotes around it, as in "*.example.com=web"',
    ),
    ("policy: !x y", 1, "could not determine a constructor for the tag '!x'", IN_QUOTES.format("!")),
    (
        "policy: !!timestamp 1",
        1,
        "could not determine a constructor for the tag 'tag:yaml.org,2002:timestamp'",
        IN_QUOTES.format("!"),
    ),
    ("workers: !!int x", 1, "x is not what its tag tag:yaml.org,2002:int says", "remove the tag"),
    ("policy: a: b", 1, "mapping values are not allowed here", COLON),
    ("workers:2\nlog_level: info", 2, "mapping values are not allowed here", COLON),
    (
        "\tworkers: 1",
        1,
        "found character '\\t' that cannot start any token",
        "indent with spaces, not with tabs",
    ),
    ("workers: 1\nworkers: 2", 2, "the key workers is given twice", "keep one of them"),
    (
        "limits:\n  uri_bytes: 8k\n body_bytes: 1",
        3,
        "expected <block end>, but found '<block mapping start>'",
        INDENT,
    ),
    (
        "workers: 1\n---\nworkers: 2",
        2,
        "but found another document",
        "a settings file is one document: remove the line ---",
    ),
    (
        "workers: 1\n...\nworkers: 2",
        3,
        "expected '<document start>', but found '<block mapping start>'",
        "a settings file is one document: remove what ends it before this line",
    ),
    (
        "admin_listen: [::1]:9901",
        1,
        "expected the node content, but found ':'",
        f'{IN_QUOTES.format("a bracket or a colon")}, as in "[::1]:8000"',
    ),
    (
        "workers: 2\nlog_level",
        2,
        "could not find expected ':'",
        "write name: value, with a space after the colon",
    ),
    ("%x", 1, "expected '<document start>', but found '<stream end>'", IN_QUOTES.format("%")),
    (
        "upstreams: - a:1",
        1,
        "sequence entries are not allowed here",
        "begin each item of a list on a line of its own",
    ),
]


@pytest.mark.parametrize(("content", "line", "what", "remedy"), BROKEN, ids=[one[0] for one in BROKEN])
def test_invalid_yaml_is_reported_with_position_and_remedy(
    file: Path, content: str, line: int, what: str, remedy: str
) -> None:
    file.write_text(content)
    assert problems(file) == [f"{file}, line {line}: is not valid YAML ({what}); {remedy}"]


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"[" * 600, "it nests too deeply", "settings are two levels deep"),
        (b"policy: \xff", "unacceptable character #x00ff: invalid start byte", "it must be plain UTF-8 text"),
    ],
    ids=["deep", "latin-1"],
)
def test_a_file_that_contains_no_settings_is_refused(
    file: Path, content: bytes, what: str, remedy: str
) -> None:
    file.write_bytes(content)
    assert problems(file) == [f"{file}: is not valid YAML ({what}); {remedy}"]


def test_a_plain_scalar_is_read_as_its_text(file: Path) -> None:
    file.write_text(
        "upstreams: a:1\nadmin_token: 0123456789\npanic: off\n"
        "sticky: {enabled: yes, secret: 1e5, cookie: on}\n"
        "health_check: {body: 2024-01-01, headers: {X-Number: 010}}\n"
        "policy: consistent_hash\npolicy_options: {bounded_load: 1.5}\n"
    )
    settings = load({}, str(file), registry)
    assert settings.admin_token.get_secret_value() == "0123456789"
    assert (settings.sticky.enabled, settings.panic) == (True, False)
    assert (settings.sticky.secret.get_secret_value(), settings.sticky.cookie) == ("1e5", "on")
    assert (settings.health_check.body, settings.health_check.headers) == ("2024-01-01", {"X-Number": "010"})
    assert settings.policy_options == {"bounded_load": 1.5}
