"""The benchmark's command line: bounded numbers, sizes, and cases by pattern."""

from pathlib import Path

import pytest

from loadtests.bench import cases
from loadtests.bench.__main__ import main
from loadtests.bench.options import parse
from loadtests.errors import BenchError


def test_the_default_options() -> None:
    options = parse([])
    assert options.case == ("*",)
    assert options.proxies == ("nginx", "haproxy", "caddy", "naive", "ours", "plain")
    assert (options.rounds, options.seconds, options.connections, options.body) == (5, 5, None, None)
    assert not options.check


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("8k", 8192), ("1M", 1048576), ("1m", 1048576)])
def test_sizes(text: str, size: int) -> None:
    assert parse(["--body", text]).body == size


def test_files_and_cases_are_lists() -> None:
    options = parse(["--case", "small, 1000-*", "--read", "a.json", "b.json"])
    assert options.case == ("small", "1000-*")
    assert options.read == (Path("a.json"), Path("b.json"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--rounds", "0"], "from 1 to 50", id="no rounds"),
        pytest.param(["--seconds", "3600"], "from 1 to 60", id="too long"),
        pytest.param(["--connections", "many"], "from 1 to 8000", id="not a number"),
        pytest.param(["--body", "0"], "not a size", id="no body"),
        pytest.param(["--body", "1G"], "not a size", id="huge body"),
        pytest.param(["--proxies", "nginx,apache"], "'apache' is none of", id="unknown proxy"),
    ],
)
def test_invalid_options_are_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(argv)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_cases_are_selected_in_the_order_of_the_table() -> None:
    found = cases.select(("1000-r*", "log", "small"))
    assert [case.name for case in found] == ["small", "log", "1000-round_robin", "1000-random"]


def test_an_unknown_case_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(BenchError, match="no case is called tiny; there are small, log"):
        cases.select(("small", "tiny"))


def test_without_wrk_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loadtests.bench.__main__.two_cores", lambda: (0, 1))
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["--case", "small"]) == 1
    assert "apt-get install wrk nginx-light" in capsys.readouterr().err
