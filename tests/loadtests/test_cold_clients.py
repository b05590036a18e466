"""The storm of clients on cold upstream connections: a short complete run."""

import shutil

import pytest

from loadtests import cold_clients
from loadtests.cold_clients import Storm


def test_clients_without_a_good_response_are_not_served() -> None:
    assert Storm(1.0, {"200": 8, "503": 2, "none": 1}, 4).unserved == 3


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx as the origin")
def test_all_clients_are_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cold_clients.main(["--clients", "300", "--rounds", "1", "--upstreams", "1", "--backlog", "100"]) == 0
    )
    shown = capsys.readouterr().out
    assert shown.startswith("ours: ")
    assert "{'200': 300}" in shown
