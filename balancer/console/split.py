"""`balancer split` (L7): the sides of a split route beside each other, and their weights."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from balancer.console.changes import forgotten
from balancer.console.client import AdminClient
from balancer.console.everywhere import everywhere
from balancer.console.sides import (
    Answer,
    coarse,
    common_bounds,
    errors_cell,
    fitted,
    gate_in_words,
    of_class,
    quantile_cells,
)
from balancer.errors import OperatorError

PATH = "/api/routes"
REFRESH = 1.0  # seconds
HEADINGS = (
    "pool", "weight", "eligible", "inflight", "requests", "share", "4xx", "errors", "retries",
    "p50", "p95", "p99",
)  # fmt: skip
_LESS = ("inflight", "eligible", "share", "4xx", "p50", "retries")  # as in `routes`
ABORT_IF = "errors>+0.5%,p95>1.3x"  # unless the operator says otherwise
# Exit codes of a change that was watched.
HELD, TAKEN_BACK, NOT_WATCHED = 0, 1, 3


def parse_weights(words: Sequence[str]) -> dict[str, int]:
    """`stable=50 canary=50`. Raises OperatorError."""
    weights: dict[str, int] = {}
    for word in words:
        pool, equals, weight = word.partition("=")
        if not equals or not pool or not (weight.isascii() and weight.isdigit()):
            raise OperatorError(f"{word} is no weight of a side; write POOL=WEIGHT, for example canary=50")
        if pool in weights:
            raise OperatorError(f"{pool} has two weights, {weights[pool]} and {weight}; write one")
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
        self._gate = 0  # the number of the gate that `set` has begun

    def set(self, weights: Mapping[str, int], hold: float | None = None, abort_if: str = "") -> Text:
        """Give sides new weights; returns all of them in words. With `hold` seconds the change is watched."""
        target = f"{PATH}/{quote(self._route, safe='')}/split"
        change: Mapping[str, Any] = weights
        if hold is not None:
            change = {"weights": weights, "gate": {"hold": hold, "abort_if": abort_if}}
        answer = self._client.patch(target, change, "weights")
        if answer["gate"] is not None:
            self._gate = answer["gate"]["number"]
        now = answer["weights"]
        total = sum(now.values()) or 1
        shares = ", ".join(f"{pool} {weight} ({weight / total:.0%})" for pool, weight in now.items())
        return Text(f"{self._route} is split: {shares}{forgotten(answer)}")

    def follow(self) -> int:
        """Show the sides until the change that `set` has made is no longer watched. Returns the exit code."""
        route = self._ask()
        first = {side["pool"]: side for side in route["sides"]}
        try:
            with Live(console=self._console, auto_refresh=False) as live:
                while (gate := route["gate"]) is not None and gate["number"] == self._gate:
                    live.update(self._shown(route, first), refresh=True)
                    self._sleep(REFRESH)
                    route = self._ask()
        except KeyboardInterrupt:
            self._end_line()
            self._console.print(
                f"{self._route}: the balancer goes on watching, and takes the change back at a breach; "
                f"balancer split {self._route} shows it"
            )
            raise
        except OperatorError:
            self._end_line()
            raise
        self._end_line()
        code, said = self._outcome(route["last_gate"])
        self._console.print(f"{self._route}: {said}")
        return code

    def wait(self) -> tuple[int, Text]:
        """As `follow`, but shows nothing meanwhile; returns the exit code, and how the watch has ended."""
        route = self._ask()
        while (gate := route["gate"]) is not None and gate["number"] == self._gate:
            self._sleep(REFRESH)
            route = self._ask()
        code, said = self._outcome(route["last_gate"])
        return code, Text(f"{self._route}: {said}")

    def _outcome(self, last: Answer | None) -> tuple[int, str]:
        """The exit code, and what the last gate of the route says of ours."""
        if last is None or last["number"] != self._gate:
            return NOT_WATCHED, "no longer watched; balancer events says why"
        if last["result"] == "held":
            return HELD, "it has held"
        if last["result"] == "breached":
            return TAKEN_BACK, f"taken back: {last['why']}"
        return NOT_WATCHED, f"no longer watched: {last['why']}"

    def _end_line(self) -> None:
        if not self._console.is_terminal:
            self._console.print()  # the last frame has no line end there

    def show(self) -> None:
        """Print the sides once."""
        self._console.print(self._shown(self._ask(), {}))

    def watch(self) -> None:
        """Show the sides every second until interrupted; counts and percentiles are of the last second."""
        route = self._ask()
        with Live(self._shown(route, {}), console=self._console, auto_refresh=False) as live:
            while True:
                before = {side["pool"]: side for side in route["sides"]}
                self._sleep(REFRESH)
                route = self._ask()
                live.update(self._shown(route, before), refresh=True)

    def _ask(self) -> Answer:
        """The route; its sides have the `bounds` of their buckets too."""
        answer = self._client.get(PATH, "routes")
        routes = answer["routes"]
        for route in routes:
            if route["name"] == self._route:
                if not route["split"]:
                    split = ", ".join(one["name"] for one in routes if one["split"]) or "none"
                    raise OperatorError(
                        f"route {self._route} is not split; split are: {split}. balancer status shows all"
                    )
                return {**route, "sides": [{**one, "bounds": answer["bounds"]} for one in route["sides"]]}
        known = ", ".join(route["name"] for route in routes)
        raise OperatorError(f"there is no route {self._route}; the routes: {known}")

    def _shown(self, route: Answer, before: Mapping[str, Answer]) -> RenderableType:
        """The counts since `before`, which is by pool; without it since the start of the instance."""
        new = [_since(side, before.get(side["pool"])) for side in route["sides"]]
        total = sum(side["requests"] for side in new) or 1
        rows = [[Text(heading) for heading in HEADINGS]]
        for side in new:
            figures = (
                side["pool"],
                f"{side['weight']}",
                f"{side['eligible']}",
                f"{side['inflight']}",
                f"{side['requests']:,}",
                f"{side['requests'] / total:.0%}",
                f"{of_class(side, '4'):,}",
            )
            retries = Text(f"{side['retries']:,}")
            rows.append(
                [*map(Text, figures), errors_cell(side), retries, *quantile_cells(side["bounds"], side)]
            )
        table = fitted(rows, _LESS, self._console.width, 1)
        if route["gate"] is None:
            return table
        return Group(table, Text(""), Text(gate_in_words(route["gate"])))


def _since(side: Answer, before: Answer | None) -> Answer:
    """The counts of a side after those of `before`."""
    if before is None:
        return side
    codes = {code: count - before["codes"].get(code, 0) for code, count in side["codes"].items()}
    common = common_bounds((side["bounds"], before["bounds"]))
    now, then = (coarse(one["first_byte_buckets"], one["bounds"], common) for one in (side, before))
    return {
        **side,
        **{name: side[name] - before[name] for name in ("requests", "retries", "broken_off")},
        "codes": codes,
        "bounds": common,
        "first_byte_buckets": [after - earlier for after, earlier in zip(now, then, strict=True)],
    }


def split_everywhere(
    clients: Sequence[AdminClient],
    console: Console,
    route: str,
    weights: Mapping[str, int],
    hold: float | None,
    abort_if: str,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Change the weights at several instances, each of which watches its own requests. With `hold`, wait
    until all have ended. Returns the worst exit code. Raises SomeFailedError."""
    codes = [HELD]

    def act(client: AdminClient) -> Iterator[Text]:
        command = SplitCommand(client, console, route, sleep)
        yield command.set(weights, hold, abort_if)
        if hold is not None:
            code, said = command.wait()
            codes.append(code)
            yield said

    everywhere(clients, console, act)
    return TAKEN_BACK if TAKEN_BACK in codes else max(codes)


def set_read_only(client: AdminClient, route: str, seconds: float) -> Iterator[Text]:
    """`balancer readonly`: serve no changes on a route for so many seconds; 0 ends it."""
    now = client.patch(f"{PATH}/{quote(route, safe='')}", {"read_only": seconds}, "read_only")["read_only"]
    yield Text(f"{route} {f'is read-only for {now:.0f} s' if now else 'serves changes'}")
