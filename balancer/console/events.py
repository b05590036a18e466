"""`balancer events` (L7): state changes as lines, and with `--follow` the next ones as they happen."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rich.console import Console
from rich.text import Text

from balancer.console.client import PATIENCE, AdminClient, UnreachableError

WAIT = 25.0  # seconds of one long poll
RETRY = 1.0  # seconds between two attempts to reach a balancer that does not answer
COLOURS = {
    "ejected": "bold red",
    "probation": "yellow",
    "readmitted": "green",
    "checked": "green",
    "ejection_skipped": "yellow",
    "silent": "bold red",
    "draining": "yellow",
    "active": "green",
    "unresolved": "yellow",
    "resolved": "green",
    "added": "cyan",
    "removed": "cyan",
    "out": "bold red",
    "out_over": "green",
    "panic": "bold red",
    "panic_over": "green",
    "overload": "bold red",
    "overload_over": "green",
    "loop": "bold red",
    "audit": "cyan",
    "certificate": "green",
    "certificate_refused": "bold red",
    "certificate_expiry": "yellow",
    "certificate_awaited": "yellow",
    "certificate_failed": "bold red",
}
_KIND_WIDTH = 13

Answer: TypeAlias = Mapping[str, Any]


class Events:
    """Prints events, and keeps which were printed and of which instance."""

    def __init__(
        self,
        client: AdminClient,
        out: Console,
        notices: Console,
        *,
        as_json: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`out` gets the events, `notices` messages about the connection."""
        self._client = client
        self._out = out
        self._notices = notices
        self._as_json = as_json
        self._sleep = sleep
        self._started = ""
        self._last = 0
        self._away = False

    def show(self) -> None:
        """Print the events that the balancer has kept, oldest first."""
        self._take(self._ask(0.0))
        if not self._last:
            self._notice(f"nothing has changed since the balancer started at {self._started}")

    def follow(self) -> None:
        """Print the next events as they happen, until interrupted; keep trying if the balancer is away."""
        while True:
            try:
                self._take(self._ask(0.0 if self._away else WAIT))
            except UnreachableError:
                if not self._away:
                    self._notice(f"the balancer on {self._client.place} does not answer; waiting for it")
                self._away = True
                self._sleep(RETRY)

    def _ask(self, wait: float) -> Answer:
        target = f"/api/events?after={self._last}&wait={wait:g}"
        return self._client.get(target, "events", patience=wait + PATIENCE)

    def _take(self, answer: Answer) -> None:
        if self._started and answer["started"] != self._started:
            # Another instance with revisions from 1 on: the answer may lack some of its events.
            self._last = 0
            answer = self._ask(0.0)
            self._notice(f"the balancer restarted at {answer['started']}")
        elif self._away:
            self._notice("the balancer answers again")
        self._away = False
        self._started = answer["started"]
        events = answer["events"]
        if events and (lost := events[0]["revision"] - self._last - 1) > 0:
            count = "1 event is" if lost == 1 else f"{lost:,} events are"
            self._notice(f"{count} missing: the balancer keeps only the latest")
        for event in events:
            self._print(event)
        self._last = answer["last"]

    def _notice(self, text: str) -> None:
        self._notices.print(text, style="yellow", soft_wrap=True)

    def _print(self, event: Answer) -> None:
        if self._as_json:
            sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return
        kind = event["kind"]
        line = Text.assemble(
            (event["time"], "dim"),
            "  ",
            (kind.replace("_", " ").ljust(_KIND_WIDTH), COLOURS.get(kind, "")),
            f"  {event['pool']}: {event['text']}" if event["pool"] else f"  {event['text']}",
        )
        self._out.print(line, soft_wrap=True)
