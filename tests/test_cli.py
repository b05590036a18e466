"""The command `balancer` as seen by operators, run as a real process."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import pytest

from balancer import __version__, build
from balancer.__main__ import config_of_run
from tests.fakes.forkserver import run

pytestmark = pytest.mark.integration

_GOOD = {"BALANCER_UPSTREAMS": "app1:8000,app2:8000?weight=3", "BALANCER_TIMEOUTS__CONNECT": "250ms"}

COMMANDS = (
    *("run", "check", "route", "demo", "policies", "status", "top", "events", "split", "readonly"),
    *("add", "remove", "weight", "drain", "maintenance", "activate", "reload", "diff"),
)


def _balancer(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    base = {name: value for name, value in os.environ.items() if not name.upper().startswith("BALANCER_")}
    base = {name: value for name, value in base.items() if name not in {"COLUMNS", "FORCE_COLOR"}}
    return run("balancer", *arguments, environ={**base, **(environ or {})})


def test_check_shows_every_setting_with_its_origin() -> None:
    done = _balancer("check", environ=_GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["BALANCER_UPSTREAMS", "app1:8000,", "app2:8000?weight=3", "environment"] in rows
    assert ["BALANCER_TIMEOUTS__CONNECT", "250ms", "environment"] in rows
    assert ["BALANCER_LIMITS__HEADER_BYTES", "64k", "default"] in rows
    assert done.stdout.splitlines()[-2:] == [
        "Not checked: whether ports are free, names resolve, and app replicas answer.",
        "The settings are valid: 2 upstreams, policy least_connections, clients connect to 0.0.0.0:8080.",
    ]


@pytest.mark.parametrize("command", [(), ("check",)], ids=["run", "check"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (no such file or directory); correct the path or mount the file"),
        ("", "holds no token; write one line of visible ASCII into it"),
        ("two words", "holds no token; write one line of visible ASCII into it"),
        ("s\u00e9cret", "holds no token; write one line of visible ASCII into it"),
        ("*" * 10, "holds the mask that replaces a secret in output; write the secret itself into it"),
    ],
    ids=["missing", "empty", "two words", "not ASCII", "mask"],
)
def test_check_reads_the_token_file_as_the_start_does(
    tmp_path: Path, command: tuple[str, ...], content: str | None, problem: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    done = _balancer(*command, environ={**_GOOD, "BALANCER_ADMIN_TOKEN_FILE": f"{file}\n"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'balancer: BALANCER_ADMIN_TOKEN_FILE: "{file}" {problem}\n'


def test_a_token_file_of_the_settings_file_is_reported_with_its_position(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams: a:1\nadmin_token_file: /nowhere/token\n")
    assert _balancer("check", "--config", str(file)).stderr == (
        f'balancer: {file}: admin_token_file: "/nowhere/token" cannot be read (no such file or directory); '
        "correct the path or mount the file\n"
    )


def test_check_warns_on_stderr_of_settings_without_effect(tmp_path: Path) -> None:
    environ = {**_GOOD, "BALANCER_OUTLIER__ENABLED": "false", "BALANCER_OUTLIER__EJECTION_TIME": "20s"}
    done = _balancer("check", "--yaml", environ=environ)
    assert (done.returncode, done.stderr) == (
        0,
        (
            'balancer: BALANCER_OUTLIER__EJECTION_TIME: "20s" has no effect while OUTLIER__ENABLED is '
            "false; set it to true, or remove this\n"
        ),
    )
    assert "ejection_time: 20s" in done.stdout


def test_check_reports_what_this_machine_would_refuse() -> None:
    done = _balancer("check", environ={**_GOOD, "BALANCER_LISTEN": "192.0.2.1:8080"})
    assert (done.returncode, done.stderr) == (
        0,
        "balancer: on this machine: cannot listen on 192.0.2.1:8080: this machine does not have that "
        "address; 0.0.0.0 listens on all\n",
    )


def test_check_does_not_report_a_port_that_the_running_balancer_may_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = _balancer("check", environ={**_GOOD, "BALANCER_LISTEN": listen})
    assert (done.returncode, done.stderr) == (0, "")


def test_too_many_upstreams_are_refused_before_the_start(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams:\n" + "".join(f"- 10.{n // 250}.{n % 250}.1:80\n" for n in range(4093)))
    (line,) = _balancer("check", "--config", str(file)).stderr.splitlines()
    assert line.endswith("names 4093 upstreams; there is room for 4091: name fewer")


@pytest.mark.parametrize(
    "arguments",
    [("--config", "{}", "check", "--yaml"), ("check", "--config", "{}", "--yaml")],
    ids=["before", "after"],
)
def test_check_prints_yaml_that_it_accepts(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams: app1:8000\nlimits: {body_bytes: 64M}\n")
    first = _balancer(*(each.format(file) for each in arguments))
    assert (first.returncode, first.stderr) == (0, "")
    assert "body_bytes: 64M" in first.stdout
    file.write_text(first.stdout)
    assert _balancer("check", "--yaml", "--config", str(file)).stdout == first.stdout


@pytest.mark.parametrize("command", [(), ("run",), ("check",)], ids=["default", "run", "check"])
def test_every_mistake_is_one_line_on_stderr(command: tuple[str, ...]) -> None:
    environ = {"BALANCER_LISTEN": "8080", "BALANCER_TIMEOUT__CONNECT": "1s"}
    done = _balancer(*command, environ=environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "balancer: BALANCER_TIMEOUT__CONNECT: no such setting; did you mean BALANCER_TIMEOUTS__CONNECT?",
        'balancer: BALANCER_LISTEN: "8080" is a port without an address; write 0.0.0.0:8080',
        "balancer: BALANCER_UPSTREAMS: is not set; name your app replicas, "
        "for example BALANCER_UPSTREAMS=app1:8000,app2:8000",
    ]


@pytest.mark.parametrize(
    ("environ", "name", "hint"),
    [
        pytest.param(
            {"BALANCER_POLICY": "round_robbin"}, "BALANCER_POLICY", "did you mean round_robin?", id="name"
        ),
        pytest.param(
            {"BALANCER_POLICY_OPTIONS": '{"choices": 2}'}, "BALANCER_POLICY_OPTIONS", "choices", id="options"
        ),
    ],
)
def test_the_policy_is_checked_against_the_registry(environ: dict[str, str], name: str, hint: str) -> None:
    done = _balancer("check", environ={**_GOOD, **environ})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"balancer: {name}")
    assert hint in line


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = _balancer(environ={**_GOOD, "BALANCER_LISTEN": listen, "BALANCER_ADMIN_LISTEN": "127.0.0.1:0"})
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on {listen}: the port is in use" in line


def test_markup_in_a_value_is_printed_verbatim() -> None:
    done = _balancer("check", environ={**_GOOD, "BALANCER_POLICY": "[bold]x", "BALANCER_LOG_LEVEL": "[/red]"})
    assert "[bold]x" in done.stderr
    assert '"[/red]" is not known' in done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    done = _balancer("--version")
    balancer = f"balancer {version('balancer')} ({build.kind()})"
    versions = f"{balancer}, Python {python_version()}, uvloop {version('uvloop')}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, versions, "")


def test_the_version_of_the_package_is_that_of_the_module() -> None:
    assert version("balancer") == __version__, "run: make setup"


def test_help_explains_the_case_of_one_pool() -> None:
    done = _balancer("--help")
    assert done.returncode == 0
    assert "BALANCER_UPSTREAMS=app1:8000,app2:8000 balancer" in done.stdout
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command: str) -> None:
    done = _balancer(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"balancer {command}" in done.stdout


@pytest.mark.parametrize("command", [("status",), ("status", "--watch"), ("events",), ("events", "--follow")])
def test_a_balancer_that_does_not_run_is_one_line_with_the_remedy(command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    done = _balancer(*command, environ={"BALANCER_ADMIN_LISTEN": place})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"balancer: nothing answers on {place}; is the balancer running? If its ADMIN_LISTEN "
        "differs, use --admin HOST:PORT\n"
    )


def test_policies_are_listed() -> None:
    done = _balancer("policies")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in ("round_robin", "least_connections", "consistent_hash"))


@pytest.mark.parametrize(
    "arguments",
    [("chek",), ("check", "--nope"), ("status", "--watch", "--json")],
    ids=["command", "option", "options that do not go together"],
)
def test_wrong_command_line_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    done = _balancer(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_are_not_reused_by_other_files(closed: str) -> None:
    """Otherwise the next opened file would get their output."""
    script = "import os, balancer.__main__ as b; b._open_standard_descriptors(); [*map(os.fstat, range(3))]"
    command = f'exec {sys.executable} -c "{script}" {closed}'
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        pytest.param(
            {"BALANCER_STICKY__ENABLED": "true", "BALANCER_STICKY__SECRET": "\udcff"},
            "BALANCER_STICKY__SECRET: has characters that are not UTF-8 text; write it again",
            id="bytes that are no text",
        ),
        pytest.param(
            {"BALANCER_POLICY": "peak_ewma", "BALANCER_POLICY_OPTIONS": '{"decay": 99999999999999999999}'},
            'BALANCER_POLICY_OPTIONS: "{\\"decay\\": 99999999999999999999}" has a number of more '
            "than 64 bits, or invalid text; write it again",
            id="an option of more than 64 bits",
        ),
        pytest.param(
            {"BALANCER_OUTLIER__CONSECUTIVE_5XX": "99999999999999999999"},
            'BALANCER_OUTLIER__CONSECUTIVE_5XX: "99999999999999999999" is too large; the maximum '
            "is 9007199254740992",
            id="a count of more than 64 bits",
        ),
    ],
)
def test_settings_too_large_for_workers_are_refused(environ: dict[str, str], problem: str) -> None:
    """Workers would never become ready."""
    done = _balancer("check", environ={**_GOOD, **environ})
    assert (done.returncode, done.stderr) == (1, f"balancer: {problem}\n")


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        pytest.param((), "", id="nothing"),
        pytest.param(("run",), "", id="run"),
        pytest.param(("--config", "a.yaml"), "a.yaml", id="a file"),
        pytest.param(("-c", "a.yaml", "run"), "a.yaml", id="a file before run"),
        pytest.param(("run", "-c", "a.yaml"), "a.yaml", id="a file after run"),
        pytest.param(("run", "--config=a.yaml"), "a.yaml", id="with an equals sign"),
        pytest.param(("-c", "run"), None, id="a file named run"),
        pytest.param(("-c",), None, id="no file"),
        pytest.param(("-c", ""), None, id="an empty file name"),
        pytest.param(("-c", "a.yaml", "-c", "b.yaml"), None, id="two files"),
        pytest.param(("run", "run"), None, id="run twice"),
        pytest.param(("run", "--help"), None, id="help"),
        pytest.param(("check",), None, id="another command"),
        pytest.param(("-c", "a.yaml", "check"), None, id="another command with a file"),
        pytest.param(("ruN",), None, id="a mistake"),
    ],
)
def test_the_plain_command_line_of_a_run_needs_no_command_parser(
    arguments: tuple[str, ...], config: str | None
) -> None:
    assert config_of_run(arguments) == config


@pytest.mark.parametrize("arguments", [("-c", "{}"), ("run", "--config={}"), ("-c", "{}", "-c", "{}")])
def test_either_parser_of_the_command_line_runs_with_the_same_file(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("upstreams: 8000\n")
    done = _balancer(*(each.format(file) for each in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith(f'balancer: {file}: upstreams: "8000" ')
