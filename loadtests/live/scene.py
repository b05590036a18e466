"""What is changed: the balancer's settings, members and processes, each change with its expected answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtests.live import counters, settings
from loadtests.live.instance import Answer, Instance
from loadtests.live.kills import Kill
from loadtests.live.play import Change
from loadtests.live.settings import CANARY, MAIN, Values

BY_SIGNAL = (6, 7)  # of ten reloads, one live and one by new workers
LATER = 0.3  # seconds by which each kill is later in its reload than the one before
SETTLES = 0.2  # seconds in which requests on a drained upstream end
LASTING = 5  # downloads, which may end there later


@dataclass(slots=True)
class Scene:
    """The balancer, its settings file, and what has happened. `problems` are sentences."""

    instance: Instance
    file: Path
    replicas: Sequence[str]
    values: Values = Values()  # noqa: RUF009 - it is frozen
    kills: list[Kill] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.instance.pid

    def counters(self) -> dict[str, float]:
        """Of the metrics, as of now."""
        return counters.parse(self.instance.scrape())

    def settles(self, limit: float) -> None:
        """Wait until former workers and supervisors have ended."""
        self.instance.settles(limit)

    def write(self) -> None:
        """Write the settings file with the present values."""
        settings.write_tree(self.file, settings.tree(self.values, self.replicas))

    def reload(self, number: int) -> None:
        """Change the settings: every second time by something that needs new workers."""
        self.values, is_live = settings.change(self.values, number)
        self.write()
        if number % 10 in BY_SIGNAL:
            if not self.instance.reload_by_signal():
                self.problems.append(f"reload {number + 1} by HUP was not applied")
            return
        answer = self.instance.ask("POST", "/api/reload", {})
        expected = "live" if is_live else "new_workers"
        if answer.status != 200 or (answer.body["result"], answer.body["how"]) != ("applied", expected):
            self._answered(f"reload {number + 1} ({expected})", answer)

    def break_settings(self, number: int) -> None:
        """A reload of a broken file: refused, and nothing is changed."""
        kind = [*settings.BROKEN][number % len(settings.BROKEN)]
        before = self._state()
        if kind == "unreadable":
            self.file.unlink()
        else:
            settings.write(self.file, settings.BROKEN[kind])
        answer = self.instance.ask("POST", "/api/reload", {})
        if answer.status != 422 or answer.body["result"] != "refused" or not answer.body["problems"]:
            self._answered(f"a reload of {kind}", answer)
        if self._state() != before:
            self.problems.append(f"a reload of {kind} was refused, and has changed something")
        self.write()

    def change_members(self, number: int) -> None:
        """Add an upstream, change its weight, remove it."""
        address = self.replicas[-1]
        one = f"/api/pools/{CANARY}/upstreams/{address}"
        match number % 3:
            case 0:
                path = f"/api/pools/{CANARY}/upstreams"
                answer, done = self.instance.ask("POST", path, {"upstream": address}), 201
            case 1:
                answer, done = self.instance.ask("PATCH", one, {"weight": number % 9 + 2}), 200
            case _:
                answer, done = self.instance.ask("DELETE", one), 200
        if answer.status != done:
            self._answered(f"change {number + 1} of members", answer)

    def drain(self, number: int) -> None:
        """Drain an upstream, wait until no request is left there, and take it back."""
        one = f"/api/pools/{MAIN}/upstreams/{self.replicas[number % 3]}"
        self.instance.ask("PATCH", one, {"admin_state": "draining"}).require(200)
        time.sleep(SETTLES)
        before = self.instance.ask("GET", one).require(200)["requests"]
        time.sleep(SETTLES)
        after = self.instance.ask("GET", one).require(200)["requests"]
        if after - before > LASTING:
            self.problems.append(f"{after - before} requests went to a drained upstream")
        self.instance.ask("PATCH", one, {"admin_state": "active"}).require(200)

    def kill(self, number: int) -> None:
        """Kill a worker."""
        workers = self.instance.workers()
        at = time.monotonic()
        clients = self.instance.kill(workers[number % len(workers)])
        self.kills.append(Kill(at, frozenset(clients)))

    def kill_in_reload(self, number: int) -> None:
        """Kill a worker in the middle of a reload by new workers: if it is a new one, that is taken back."""
        self.values, _ = settings.change(self.values, 2 * number + 1)
        self.write()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.instance.ask, "POST", "/api/reload", {})
            time.sleep(number * LATER)
            self.kill(number)
            answer = asked.result()
        if (answer.status, answer.body["result"]) not in ((200, "applied"), (409, "taken_back")):
            self._answered("a reload with a kill", answer)

    def replace(self, number: int) -> None:
        """Start the program anew: every second time by USR2."""
        if number % 2:
            self.instance.replace_by_signal()
            return
        answer = self.instance.ask("POST", "/api/replace", {})
        if answer.status != 200:
            self._answered("a replacement", answer)
            return
        self.instance.replaced(answer.body["pid"])
        self.instance.becomes_ready()

    def _answered(self, what: str, answer: Answer) -> None:
        self.problems.append(f"{what} was answered {answer.status}: {answer.body}")

    def _state(self) -> tuple[object, list[int]]:
        config = self.instance.ask("GET", "/api/config").require(200)
        return config["settings"], self.instance.workers()


CHANGES: Sequence[Change] = (
    Change("reload", "reloads, half of them by new workers", 100, 0.5),
    Change("mixed", "workers killed in the middle of reloads by new workers", 6, 1.0),
    Change("members", "upstreams added, re-weighted and removed", 100, 0.1),
    Change("drain", "upstreams drained and taken back", 20, 0.2),
    Change("broken", "reloads of broken settings", 20, 0.1),
    Change("kill", "workers killed", 10, 1.0),
    Change("replace", "replacements of the program", 10, 1.0, is_rested=True, begins_counters_anew=True),
)
ACTS: Mapping[str, Callable[[Scene, int], None]] = {
    "reload": Scene.reload,
    "mixed": Scene.kill_in_reload,
    "members": Scene.change_members,
    "drain": Scene.drain,
    "broken": Scene.break_settings,
    "kill": Scene.kill,
    "replace": Scene.replace,
}


def shortened(change: Change, share: float) -> Change:
    """The same fewer times, twice at least."""
    return replace(change, count=max(2, round(change.count * share)))
