"""A short complete run of `make live`: reloads, kills and a replacement under load."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

COMMAND = [sys.executable, "-m", "loadtests.live"]
SHORT = ["--case", "scene", "--rate", "100", "--warm-up", "2", "--rest", "0", "--percent", "1"]


def test_no_request_fails_while_the_balancer_is_changed() -> None:
    """Memory is for `make live`: it needs a longer warm-up and rests."""
    command = [*COMMAND, *SHORT, "--only", "reload,members,kill,replace"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert "replace: 2 of 2" in done.stdout, done
    assert "verdict: " in done.stdout, done
    for sentence in ("failed requests", "cut:", "fell from", "was answered"):
        assert sentence not in done.stdout, done.stdout


def test_the_command_teaches() -> None:
    said = subprocess.run([*COMMAND, "--help"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "replacements of the program" in said
    assert "exit code: 0" in said
