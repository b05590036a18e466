"""The settings are read by a process of their own; the supervisor gets the result, or the reason why not."""

import os
import subprocess
import sys

import pytest

from balancer.config.address import Address
from balancer.runtime.plan import Plan, decode
from balancer.runtime.planning import read
from balancer.spec.part import encode

pytestmark = pytest.mark.integration

GOOD = {"BALANCER_UPSTREAMS": "app1:8000, 10.0.0.2:8000?weight=3", "BALANCER_ADMIN_TOKEN": "s3cret"}
# In its own process: a fork of the tests' would have their threads and plug-ins.
READ = """
import os
from balancer.runtime.reader import Reader
{before}
from balancer.errors import OperatorError, SettingsError
try:
    plan = Reader(os.environ, {config!r}).plan()
except SettingsError as error:
    print("settings", error.problems)
except OperatorError as error:
    print("start", error)
else:
    print("plan", plan.listen, [one.id for one in plan.instance.pools[0].upstreams])
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no process left")
"""


def reading(environ: dict[str, str], config: str | None = None, before: str = "") -> tuple[list[str], str]:
    """The lines on stdout, and stderr."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    script = READ.format(config=config, before=before)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**own, **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    *lines, last = done.stdout.splitlines()
    assert last == "no process left"
    return lines, done.stderr


def test_the_plan_is_what_the_process_has_read() -> None:
    lines, said = reading({**GOOD, "BALANCER_LISTEN": "127.0.0.1:0"})
    assert (lines, said) == (["plan 127.0.0.1:0 ['app1:8000', '10.0.0.2:8000']"], "")


def test_all_problems_come_back() -> None:
    lines, said = reading({"BALANCER_LISTEN": "8080", "BALANCER_NONESUCH": "1"}, "/nowhere/settings.yaml")
    ((kind, _, problems),) = [line.partition(" ") for line in lines]
    assert (kind, said) == ("settings", "")
    assert "BALANCER_NONESUCH" in problems
    assert "is a port without an address" in problems
    assert "/nowhere/settings.yaml" in problems


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL", id="killed"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", "signal SIGTERM", id="ended"),
        pytest.param("raise MemoryError", "exit code 1", id="a bug"),
    ],
)
def test_a_process_that_fails_is_a_start_up_error(fault: str, reason: str) -> None:
    before = f"""
import signal
from balancer.runtime import planning
def read(environ, config):
    {fault}
planning.read = read
"""
    lines, said = reading(GOOD, before=before)
    assert lines == [f"start reading the settings failed ({reason})"]
    assert ("MemoryError" in said) == ("code" in reason)


HANGS = """
import os, signal
from balancer.runtime import planning
from balancer.runtime.reader import Reader
def read(environ, config):
    signal.pause()
planning.read = read
Reader(os.environ, None)
{end}
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_hangs_ends_with_the_supervisor(end: str) -> None:
    # The output ends when the last process that has the pipe ends.
    done = subprocess.run([sys.executable, "-c", HANGS.format(end=end)], capture_output=True, timeout=30)
    assert done.stderr == b""


def test_a_plan_survives_the_way_through_the_pipe() -> None:
    environ = {
        **GOOD,
        "BALANCER_OUTLIER__ENABLED": "false",
        "BALANCER_OUTLIER__EJECTION_TIME": "20s",
        "BALANCER_POLICY": "consistent_hash",
        "BALANCER_POLICY_OPTIONS": '{"bounded_load": 1.25}',
        "BALANCER_STICKY__ENABLED": "true",
        "BALANCER_STICKY__SECRET": "x" * 32,
        "BALANCER_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "BALANCER_HEALTH_CHECK__HEADERS": '{"Authorization": "x"}',
        "BALANCER_ADMIN_HOSTS": "lb.example",
    }
    found = read(environ, None)
    assert isinstance(found, Plan)
    assert decode(encode(found)) == found
    assert found.listen == Address("0.0.0.0", 8080)
    assert (found.admin_token, found.admin_hosts) == ("s3cret", ("lb.example",))
    assert "s3cret" not in repr(found.config)
    assert "warning" in [one.level for one in found.notices if "has no effect" in one.text]
