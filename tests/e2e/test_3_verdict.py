"""The load test as users run it: its table, its sentence and its exit code."""

import pytest

from loadtests.verdict import TOO_MANY_FAILURES
from tests.e2e.load import Load, seen
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.e2e

SETTINGS = {"LOAD_TIME": "4s", "LOAD_USERS": "20", "LOAD_RATE": "10"}


def test_a_good_run_with_the_shares_of_all_workers(stack: Stack, load: Load) -> None:
    load.end()
    (heavy,) = stack.containers("heavy")
    environ = {"LOAD_WEIGHTS": f"{heavy}=3", "LOAD_SHARE_TOLERANCE": "0.3"}
    code, output = stack.run_load(**SETTINGS, **environ, LOAD_REPLICAS="4")
    assert code == 0, output
    assert "verdict: good" in output
    counts = seen(output)
    assert counts.replicas.total() == counts.requests


def test_failures_are_reported_and_set_the_exit_code(stack: Stack, load: Load) -> None:
    load.end()
    container = stack.containers("app")[0]
    stack.switch(container, error_rate=0.5)
    code, output = stack.run_load(**SETTINGS)
    stack.switch(container, error_rate=0)
    assert code == TOO_MANY_FAILURES, output
    assert "verdict: BAD" in output
    until("all are eligible again", lambda: all(one["eligible"] for one in stack.upstreams().values()))
