"""The command line of `make faults`, and its list of faults."""

import pytest

from loadtests.faults.catalogue import FAULTS
from loadtests.faults.options import parse


def test_the_default_options_are_those_of_the_report() -> None:
    options = parse([])
    assert options.faults == tuple(FAULTS)
    assert options.balancers == ("balancer",)
    assert (options.seconds, options.runs, options.rate, options.json) == (30, 3, 600, None)


def test_other_balancers_are_compared_with_ours() -> None:
    options = parse(["--vs", "nginx,haproxy", "--only", "kill, hang"])
    assert options.balancers == ("balancer", "nginx", "haproxy")
    assert options.faults == ("kill", "hang")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--only", "fire"], "'fire' is none of latency", id="unknown fault"),
        pytest.param(["--vs", "caddy"], "'caddy' is none of nginx, haproxy", id="unknown balancer"),
        pytest.param(["--seconds", "1"], "from 2 to 600", id="too short"),
        pytest.param(["--runs", "0"], "from 1 to 50", id="no runs"),
        pytest.param(["--rate", "fast"], "from 10 to 5000", id="not a number"),
    ],
)
def test_invalid_options_are_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(argv)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_the_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    told = capsys.readouterr().out
    assert all(fault.name in told and fault.summary in told for fault in FAULTS.values())


@pytest.mark.parametrize("fault", FAULTS)
def test_steps_are_in_order_and_within_the_fault(fault: str) -> None:
    moments = [step.at for step in FAULTS[fault].steps]
    assert moments == sorted(moments)
    assert moments[0] == 0.0
    assert moments[-1] <= 1.0
