"""The benchmark's processes, really started: none is left, and a failure contains the output."""

import os
import signal
from pathlib import Path

import pytest

from loadtests.cpu import running_tree
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports

pytestmark = pytest.mark.integration

CORE = min(os.sched_getaffinity(0))


def test_the_whole_process_tree_is_ended(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start("tree", ["sh", "-c", "trap 'kill $!' TERM; sleep 60 & wait"], CORE)
        assert running_tree(pid)
    assert running_tree(pid) == []


def test_a_process_is_ended_when_the_benchmark_fails(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    pid = processes.start("sleep", ["sleep", "60"], CORE)

    def interrupted() -> None:
        with processes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert running_tree(pid) == []


def test_a_process_that_ends_at_its_start_is_an_error_with_its_output(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Processes(tmp_path) as processes:
        pid = processes.start("proxy", ["sh", "-c", "echo no such upstream; exit 3"], CORE)
        with pytest.raises(BenchError, match=r"proxy exited with 3 at the start:\n  no such upstream"):
            processes.wait_for_body("proxy", pid, port, 100)


def test_the_output_of_a_finished_command_is_returned(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        assert processes.run("echo", ["echo", "154 requests"], CORE, limit=10.0) == "154 requests\n"


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_start_waits_for_a_line_of_the_output(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start("talker", ["sh", "-c", "echo hello; echo port 80; exec sleep 60"], None)
        assert processes.wait_for_line("talker", pid, "port ") == "80"


def test_a_line_that_can_no_longer_appear_is_an_error_with_the_output(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start("talker", ["sh", "-c", "echo hello; exit 3"], None)
        with pytest.raises(BenchError, match=r"(?s)exited with 3 at the start:.*hello"):
            processes.wait_for_line("talker", pid, "port ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_single_process_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start("sleep", ["sleep", "60"], None)
        processes.end(pid, number)
        assert running_tree(pid) == []
