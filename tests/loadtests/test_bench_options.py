"""The benchmark's command line: bounded numbers, sizes, and incompatible options."""

import pytest

from loadtests.options import parse


def test_the_default_options() -> None:
    options = parse([])
    assert options.proxies == ("nginx", "haproxy", "ours")
    assert (options.rounds, options.seconds, options.connections, options.body) == (5, 5, 64, 100)


@pytest.mark.parametrize(("text", "size"), [("100", 100), ("8k", 8192), ("1M", 1048576), ("1m", 1048576)])
def test_sizes(text: str, size: int) -> None:
    assert parse(["--body", text]).body == size


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--rounds", "0"], "from 1 to 50", id="no rounds"),
        pytest.param(["--seconds", "3600"], "from 1 to 60", id="too long"),
        pytest.param(["--connections", "many"], "from 1 to 4000", id="not a number"),
        pytest.param(["--body", "0"], "not a size", id="no body"),
        pytest.param(["--body", "1G"], "not a size", id="huge body"),
        pytest.param(["--proxies", "nginx,apache"], "'apache' is none of", id="unknown proxy"),
        pytest.param(["--proxies", "ours", "--max-ratio", "1.5"], "both must be", id="ratio without nginx"),
    ],
)
def test_invalid_options_are_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(argv)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
