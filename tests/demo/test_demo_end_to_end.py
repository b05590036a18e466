"""`balancer demo --load` as users run it: the balancer, its replicas, the load, and a clean end."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from loadtests.cpu import running_tree

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

WAIT = 40.0  # seconds; only a failing test takes that long
# A replica's line: name, state, requests above 0, share, inflight, p50, p95.
BUSY = re.compile(r"^(app\d) .*active +[1-9][\d,]* +\d+% +\d+ +[\d.]+ m?s +[\d.]+ m?s$")


def busy_replicas(output: Iterable[str], wanted: int) -> set[str]:
    """Read until `wanted` replicas have had a line with requests, or to the end."""
    seen: set[str] = set()
    for text in output:
        line = BUSY.match(text.rstrip())
        if line is not None:
            seen.add(line[1])
        if len(seen) == wanted:
            break
    return seen


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1],
    ids=["ctrl-c", "term", "quit", "usr1"],
)
def test_the_demo_shows_every_replica_and_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "balancer", "demo", "--load"]
    errors = tmp_path / "stderr"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        watchdog = threading.Timer(WAIT, process.terminate)
        watchdog.start()
        try:
            assert process.stdout is not None
            seen = busy_replicas(process.stdout, wanted=3)
            tree = [stat.pid for stat in running_tree(process.pid)]
            process.send_signal(number)
            rest = process.stdout.read()
            code = process.wait()
        finally:
            watchdog.cancel()
            process.terminate()
    assert errors.read_text() == ""
    assert seen == {"app1", "app2", "app3"}
    assert code == 0
    assert rest.splitlines()[-1] == "stopped"
    assert len(tree) >= 6  # the demo, three replicas, the supervisor, a worker
    assert [pid for pid in tree if Path(f"/proc/{pid}").exists()] == []
