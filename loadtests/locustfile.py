"""The load test (Locust), with a verdict by exit code: see docs/load-tests.md for its settings.

Every load process keeps a tally; in distributed mode the workers' tallies are sent to the master with
Locust's own reports, and only the master judges.
"""

import json
import os
import sys
from typing import Any

from locust import events
from locust.runners import STATE_RUNNING, STATE_SPAWNING, WorkerRunner
from locust.stats import console_logger

from loadtests.behaviours import Shopper, Visitor
from loadtests.tally import Tally
from loadtests.verdict import PREFIX, BoundsError, Figures, judge, read_bounds, report, switched_on

REPORT_KEY = "balancer_tally"
REPLICA_HEADER = os.environ.get(f"{PREFIX}REPLICA_HEADER", "") or "X-Replica"

# Locust runs the user classes that it finds in this module.
user_classes = [Visitor if Visitor.paths else Shopper]
del Shopper, Visitor
User = user_classes[0]

tally = Tally()
try:
    bounds = read_bounds(os.environ)
except BoundsError as error:
    sys.exit(str(error))


@events.request.add_listener
def count(response: Any, **_: Any) -> None:
    """One request has ended, successfully or not."""
    headers = getattr(response, "headers", None)
    replica = headers.get(REPLICA_HEADER) if headers is not None else None
    tally.count(getattr(response, "status_code", 0) or 0, replica)


@events.report_to_master.add_listener
def send_tally(data: dict[str, Any], **_: Any) -> None:
    """On a worker: add the counts since the last report."""
    data[REPORT_KEY] = tally.take()


@events.worker_report.add_listener
def add_tally(data: dict[str, Any], **_: Any) -> None:
    """On the master: add the counts of a worker."""
    tally.add(data[REPORT_KEY])


@events.quitting.add_listener
def decide(environment: Any, **_: Any) -> None:
    """Set the exit code, once all counts have arrived."""
    runner = environment.runner
    if runner is None or isinstance(runner, WorkerRunner):
        return
    if runner.state in (STATE_SPAWNING, STATE_RUNNING):
        runner.stop()  # ended by a signal: running requests are counted, as at the end of the run time
    total = environment.stats.total
    p50, p95, p99 = (total.get_response_time_percentile(share) / 1e3 for share in (0.5, 0.95, 0.99))
    exceptions = sum(entry["count"] for entry in runner.exceptions.values())
    figures = Figures(total.num_requests, total.num_failures, p50, p95, p99, tally, exceptions)
    findings = judge(figures, bounds)
    environment.process_exit_code = findings[0].code if findings else 0

    @environment.events.quit.add_listener
    def tell(**_: Any) -> None:
        """After Locust's own tables, so that the verdict comes last."""
        console_logger.info("\n" + report(figures, bounds, findings))
        if switched_on(os.environ, "JSON"):
            counts = {"requests": figures.requests, "failures": figures.failures, **tally.take()}
            print(json.dumps(counts), flush=True)
