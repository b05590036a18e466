"""examples/old_to_new under load: users move from an old version to a new one in four steps, and back."""

import json
import shlex
import subprocess
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from tests.e2e.conftest import PROJECT
from tests.e2e.engine import run
from tests.e2e.project import Project
from tests.e2e.stack import fetch, free_ports, until
from tests.e2e.users import Answer, User, Users, known_users

pytestmark = pytest.mark.e2e

FILE = "examples/old_to_new/compose.yml"
ROUTE = "stable-canary"
TOKEN = "of-the-test"
SPLIT = f"/api/routes/{ROUTE}/split"
# Their sides are hashes, so n random ones would differ from a weight p by sqrt(p(1-p)/n): at 50 % and 4,000
# users by 0.8 points. These are the same in each run; those that come new are few enough not to matter.
KNOWN, SEED, NEW = 4_000, 1, 100
CONNECTIONS = 40
TOLERANCE = 0.02
BACK_SECONDS = 1.0
GATE_SECONDS = 2.0
FAILING = 0.05
ABORT_IF = "errors>+0.5%"
# What the gate goes by (balancer/runtime/gate.py): seconds, requests on both sides, errors above the limit.
WINDOW, LEAST, EXCESS, LIMIT = 5.0, 100, 3, 0.005


class Site(Project):
    """The example, with two replicas of each version."""

    def __init__(self) -> None:
        self.port, admin = free_ports(2)
        self.admin = f"http://127.0.0.1:{admin}"
        environ = {
            "PUBLISH_HTTP": f"127.0.0.1:{self.port}",
            "PUBLISH_ADMIN": f"127.0.0.1:{admin}",
            "BALANCER_ADMIN_TOKEN": TOKEN,
            "SPLIT_SECRET": "of-the-test",
        }
        super().__init__("balancer-e2e-old-to-new", [FILE], environ)
        self.pool_of: dict[str, str] = {}  # by a replica's name
        self.balancer = ""

    def start(self) -> None:
        self.down()
        self.up()
        self.pool_of = {one: pool for pool in ("stable", "canary") for one in self.containers(pool)}
        (self.balancer,) = self.containers("balancer")
        until("all four replicas pass their checks", self._passed, lambda count: count == 4)

    def _passed(self) -> int:
        pools = fetch(f"{self.admin}/api/pools")["pools"]
        return sum(one["eligible"] and not one["unchecked"] for pool in pools for one in pool["upstreams"])

    def patch(self, stable: int, canary: int) -> None:
        """By the API."""
        request = urllib.request.Request(
            self.admin + SPLIT,
            json.dumps({"stable": stable, "canary": canary}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=10.0) as response:
            assert json.load(response)["weights"] == {"stable": stable, "canary": canary}

    def command(self, stable: int, canary: int) -> None:
        """By the command, in the container."""
        words = ["split", ROUTE, f"stable={stable}", f"canary={canary}"]
        said = run("docker", "exec", self.balancer, "balancer", *words)
        split = f"{ROUTE} is split: stable {stable} ({stable}%), canary {canary} ({canary}%)"
        assert said == f"{split}; a restart forgets this (STATE__FILE is not set)\n"

    def gate(self) -> dict[str, Any] | None:
        gate: dict[str, Any] | None = fetch(self.admin + SPLIT)["gate"]
        return gate

    @contextmanager
    def failing_canary(self) -> Iterator[None]:
        """Its replicas fail a share of their requests."""
        try:
            for container in self.containers("canary"):
                self.switch(container, error_rate=FAILING)
            yield
        finally:
            for container in self.containers("canary"):
                self.switch(container, error_rate=0)

    def pools(self, answers: Sequence[Answer]) -> list[str]:
        return [self.pool_of[answer.replica] for answer in answers]

    def canary_share(self, answers: Sequence[Answer]) -> float:
        return Counter(self.pools(answers))["canary"] / len(answers)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    before = request.config.stash.get(PROJECT, None)
    request.config.stash[PROJECT] = site = Site()
    try:
        site.start()
        yield site
    except AssertionError as error:
        error.add_note(site.logs())  # before they are gone
        raise
    finally:
        site.down()
        if before is not None:
            request.config.stash[PROJECT] = before


@pytest.fixture
def users(site: Site) -> Iterator[Users]:
    """They ask during the whole test."""
    with Users(site.port, known_users(KNOWN, SEED), NEW, CONNECTIONS) as users:
        yield users


def failures(users: Users) -> list[Answer]:
    return [answer for answer in users.answers() if answer.status != 200]


def test_users_move_in_four_steps_and_back_and_nothing_fails(site: Site, users: Users) -> None:
    first = users.all_ask(time.monotonic())
    assert site.canary_share(list(first.values())) == pytest.approx(0.1, abs=TOLERANCE)
    steps: Sequence[tuple[Callable[[int, int], None], int, int]] = [
        (site.patch, 50, 50),
        (site.command, 10, 90),
        (site.patch, 0, 100),
    ]
    for change, stable, canary in steps:
        change(stable, canary)
        changed = time.monotonic()
        users.all_ask(changed)
        assert failures(users) == []
        answers = [answer for answer in users.answers() if answer.begun >= changed]
        assert site.canary_share(answers) == pytest.approx(canary / 100, abs=TOLERANCE)
        for user in users.users:
            assert moves(site, user.answers) in ([], [("stable", "canary")]), "moved twice, or back"
    called = time.monotonic()
    site.patch(100, 0)
    back = users.all_ask(time.monotonic())
    assert failures(users) == []
    last = max(answer.ended for answer in users.answers() if site.pool_of[answer.replica] == "canary")
    assert last - called < BACK_SECONDS
    for user in back:
        assert moves(site, user.answers).count(("canary", "stable")) <= 1
        assert site.pool_of[user.answers[-1].replica] == "stable"
    events = fetch(f"{site.admin}/api/events")["events"]
    assert [event["kind"] for event in events].count("split") == 4


def moves(site: Site, answers: Sequence[Answer]) -> list[tuple[str, str]]:
    """From which side to which a user has gone."""
    pools = site.pools(answers)
    return [(one, next) for one, next in pairwise(pools) if one != next]


def test_a_gate_takes_a_failing_canary_back_without_the_command(site: Site, users: Users) -> None:
    site.patch(90, 10)
    before = users.all_ask(time.monotonic())
    revision = fetch(f"{site.admin}/api/events?after=1000000000")["last"]
    changed = time.monotonic()
    start_and_kill(site, f"balancer split {ROUTE} stable=50 canary=50 --hold 10m --abort-if '{ABORT_IF}'")
    assert site.gate() is not None
    assert failures(users) == []
    with site.failing_canary():
        until("the gate is gone", site.gate, lambda gate: gate is None)
        taken_back = time.monotonic()
        users.all_ask(taken_back)
    events = fetch(f"{site.admin}/api/events?after={revision + 1}")["events"]
    (event,) = [event for event in events if event["kind"] == "split"]
    assert event["text"].startswith(
        f"route {ROUTE} is split stable 90, canary 10 (before: stable 50, canary 50): {ABORT_IF}: "
    )
    breach = first_breach(site, users.answers(), changed)
    assert last_on_another_side(site, before) - breach < GATE_SECONDS


def start_and_kill(site: Site, command: str) -> None:
    """Run a command in the balancer's container, and kill it when it has made its change."""
    script = f"echo $$; exec {command}"
    shell = ("docker", "exec", site.balancer, "sh", "-c", script)
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert "is split" in process.stdout.readline()
        run("docker", "exec", site.balancer, "sh", "-c", f"kill -KILL {shlex.quote(str(pid))}")
        assert process.wait(10.0) == 137


def first_breach(site: Site, answers: Sequence[Answer], since: float) -> float:
    """When the canary has first failed so many more requests than the condition allows, as users saw it. The
    stable side fails none."""
    window: deque[Answer] = deque()
    for answer in answers:
        if answer.ended < since:
            continue
        window.append(answer)
        while window[0].ended < answer.ended - WINDOW:
            window.popleft()
        pools = Counter(site.pools(window))
        failed = sum(one.status != 200 for one in window)
        enough = min(pools["stable"], pools["canary"]) >= LEAST
        if enough and failed - LIMIT * pools["canary"] >= EXCESS:
            return answer.ended
    raise AssertionError("the canary was never in breach")


def last_on_another_side(site: Site, before: dict[User, Answer]) -> float:
    """When a user was last served by another side than before the change."""
    return max(
        answer.ended
        for user, first in before.items()
        for answer in user.answers
        if site.pool_of[answer.replica] != site.pool_of[first.replica]
    )
