"""`balancer split` (L7): the sides of a split route beside each other, and their weights."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from balancer.console.client import AdminClient
from balancer.errors import OperatorError

PATH = "/api/routes"
REFRESH = 1.0  # seconds
HEADINGS = ("weight", "eligible", "inflight", "requests", "share", "5xx", "retries", "p50", "p95", "p99")
_QUANTILES = (0.5, 0.95, 0.99)
_LONGER = "> "  # than the last bound


def parse_weights(words: Sequence[str]) -> dict[str, int]:
    """`stable=50 canary=50`. Raises OperatorError."""
    weights = {}
    for word in words:
        pool, equals, weight = word.partition("=")
        if not equals or not pool or not (weight.isascii() and weight.isdigit()):
            raise OperatorError(f"{word} is no weight of a side; write POOL=WEIGHT, for example canary=50")
        weights[pool] = int(weight)
    return weights


class SplitCommand:
    """The command, for one route."""

    def __init__(
        self,
        client: AdminClient,
        console: Console,
        route: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._console = console
        self._route = route
        self._sleep = sleep

    def set(self, weights: Mapping[str, int], hold: float | None = None, abort_if: str = "") -> None:
        """Give sides new weights, and print all of them. With `hold` seconds the change is watched."""
        target = f"{PATH}/{quote(self._route, safe='')}/split"
        change: Mapping[str, Any] = weights
        if hold is not None:
            change = {"weights": weights, "gate": {"hold": hold, "abort_if": abort_if}}
        now = self._client.patch(target, change, "weights")["weights"]
        total = sum(now.values()) or 1
        shares = ", ".join(f"{pool} {weight} ({weight / total:.0%})" for pool, weight in now.items())
        self._console.print(f"{self._route} is split: {shares}")

    def follow(self) -> bool:
        """Show the sides until the change that is watched has held, or was taken back. Returns whether it
        has held."""
        bounds, route = self._ask()
        wanted = _weights_of(route)
        first = {side["pool"]: side for side in route["sides"]}
        with Live(console=self._console, auto_refresh=False) as live:
            while route["gate"] is not None:
                gate = route["gate"]
                conditions = ", ".join(gate["abort_if"])
                text = f"held for {gate['passed']:.0f} of {gate['hold']:g} s; back if {conditions}"
                live.update(Group(self._table(bounds, route["sides"], first), Text(text)), refresh=True)
                self._sleep(REFRESH)
                bounds, route = self._ask()
        if not self._console.is_terminal:
            self._console.print()  # the last frame has no line end there
        has_held = _weights_of(route) == wanted
        said = "it has held" if has_held else "taken back; balancer events says why"
        self._console.print(f"{self._route}: {said}")
        return has_held

    def show(self) -> None:
        """Print the sides once."""
        bounds, route = self._ask()
        self._console.print(self._table(bounds, route["sides"], {}))

    def watch(self) -> None:
        """Show the sides every second until interrupted; rates and percentiles are of the last second."""
        bounds, route = self._ask()
        with Live(self._table(bounds, route["sides"], {}), console=self._console, auto_refresh=False) as live:
            while True:
                before = {side["pool"]: side for side in route["sides"]}
                self._sleep(REFRESH)
                bounds, route = self._ask()
                live.update(self._table(bounds, route["sides"], before), refresh=True)

    def _ask(self) -> tuple[Sequence[float], Mapping[str, Any]]:
        answer = self._client.get(PATH, "routes")
        for route in answer["routes"]:
            if route["name"] == self._route:
                return answer["bounds"], route
        known = ", ".join(route["name"] for route in answer["routes"])
        raise OperatorError(f"there is no route {self._route}; the routes: {known}")

    def _table(
        self,
        bounds: Sequence[float],
        sides: Sequence[Mapping[str, Any]],
        before: Mapping[str, Mapping[str, Any]],
    ) -> Table:
        """The counts since `before`, which is by pool; without it since the start of the instance."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        table.add_column("pool", no_wrap=True)
        columns = (
            "weight",
            "eligible",
            "inflight",
            "requests",
            "share",
            "5xx",
            "retries",
            "p50",
            "p95",
            "p99",
        )
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        new = [_since(side, before.get(side["pool"])) for side in sides]
        total = sum(side["requests"] for side in new) or 1
        for side in new:
            table.add_row(
                side["pool"] or "-",
                f"{side['weight']}",
                f"{side['eligible']}",
                f"{side['inflight']}",
                f"{side['requests']:,}",
                f"{side['requests'] / total:.0%}",
                f"{sum(count for code, count in side['codes'].items() if code.startswith('5')):,}",
                f"{side['retries']:,}",
                *(quantile(bounds, side["first_byte_buckets"], share) for share in _QUANTILES),
            )
        return table


def _weights_of(route: Mapping[str, Any]) -> dict[str, int]:
    return {side["pool"]: side["weight"] for side in route["sides"]}


def _since(side: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The counts of a side after those of `before`."""
    if before is None:
        return dict(side)
    codes = {code: count - before["codes"].get(code, 0) for code, count in side["codes"].items()}
    pairs = zip(side["first_byte_buckets"], before["first_byte_buckets"], strict=True)
    return {
        **side,
        "codes": codes,
        "requests": side["requests"] - before["requests"],
        "retries": side["retries"] - before["retries"],
        "first_byte_buckets": [now - then for now, then in pairs],
    }


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> str:
    """The bound that this share of what was counted kept; "-" without any."""
    total, seen = sum(buckets), 0
    if not total:
        return "-"
    for bound, count in zip(bounds, buckets, strict=False):
        seen += count
        if seen >= share * total:
            return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"
    return f"{_LONGER}{bounds[-1]:g} s"


def set_read_only(client: AdminClient, console: Console, route: str, seconds: float) -> None:
    """`balancer readonly`: serve no changes on a route for so many seconds; 0 ends it."""
    now = client.patch(f"{PATH}/{quote(route, safe='')}", {"read_only": seconds}, "read_only")["read_only"]
    state = f"is read-only for {now:.0f} s" if now else "serves changes"
    console.print(f"{route} {state}")
