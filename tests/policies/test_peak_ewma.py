"""peak_ewma: an upstream that is slow or fails gets less traffic, and is tried again."""

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from balancer.errors import Outcome
from balancer.policies.conformance import BenchClock, upstream
from balancer.policies.peak_ewma import PeakEwma
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context

Answer = tuple[float, Outcome]  # latency in seconds, and outcome
App = Callable[[Random], Answer]
TEACHES_NOTHING = (Outcome.CLIENT_GONE, Outcome.CANCELLED)
FAILURES = (Outcome.SERVER_ERROR, Outcome.CONNECT_FAILED, Outcome.FAILED)


def usual(random: Random) -> Answer:
    return random.expovariate(1 / 0.02), Outcome.SUCCESS


class Harness:
    """Clients that wait for their answer, and upstreams with an app each."""

    def __init__(self, *apps: App, decay: float = 10.0, weights: tuple[float, ...] = ()) -> None:
        self.clock = BenchClock()
        self.upstreams = [
            upstream(number, weight) for number, weight in enumerate(weights or [1.0] * len(apps))
        ]
        self.apps = dict(zip(self.upstreams, apps, strict=True))
        self.policy = PeakEwma(context(clock=self.clock), decay=decay)
        self.policy.rebuild(self.upstreams)
        self._random = Random(7)

    def serve(self, requests: int, clients: int = 1) -> "Counter[Upstream]":
        """The number of requests for each upstream."""
        counts: Counter[Upstream] = Counter()
        running: list[tuple[float, int, Upstream, Answer]] = []
        now = 0.0
        for number in range(requests):
            if len(running) == clients:
                at, _, done, (latency, outcome) = heapq.heappop(running)
                self.clock.advance(at - now)
                now = at
                self.end(done, latency, outcome)
            chosen = self.begin()
            counts[chosen] += 1
            answer = self.apps[chosen](self._random)
            heapq.heappush(running, (now + answer[0], number, chosen, answer))
        for _, _, done, (latency, outcome) in sorted(running):
            self.end(done, latency, outcome)
        return counts

    def begin(self) -> Upstream:
        chosen = self.policy.pick(0, ())
        assert chosen is not None
        chosen.inflight += 1
        return chosen

    def end(self, one: Upstream, latency: float, outcome: Outcome = Outcome.SUCCESS) -> None:
        one.inflight -= 1
        self.policy.finished(one, latency, outcome)

    def teach(self, one: Upstream, latency: float, outcome: Outcome = Outcome.SUCCESS) -> None:
        one.inflight += 1
        self.end(one, latency, outcome)

    def picks(self, count: int = 1000) -> "Counter[Upstream]":
        """The picks while nothing changes."""
        return Counter(self.policy.pick(0, ()) or self.upstreams[0] for _ in range(count))


@pytest.mark.parametrize("clients", [1, 10, 100])
def test_none_of_five_equal_upstreams_starves(clients: int) -> None:
    harness = Harness(*[usual] * 5)
    counts = harness.serve(20_000, clients)
    assert min(counts[one] for one in harness.upstreams) > 20_000 / 5 / 2


def test_the_faster_upstream_is_preferred() -> None:
    harness = Harness(usual, usual)
    slow, fast = harness.upstreams
    harness.teach(slow, 0.05)
    harness.teach(fast, 0.01)
    assert harness.picks() == {fast: 1000}


def test_load_counts_as_much_as_latency() -> None:
    harness = Harness(usual, usual)
    slow, fast = harness.upstreams
    harness.teach(slow, 0.05)
    harness.teach(fast, 0.01)
    fast.inflight = 3
    assert harness.picks() == {fast: 1000}
    fast.inflight = 9
    assert harness.picks() == {slow: 1000}
    slow.remote_inflight = 9
    assert harness.picks() == {fast: 1000}


def test_one_slow_answer_counts_at_once() -> None:
    """The peak: a mean over many answers would keep sending requests to an upstream that begins to hang."""
    harness = Harness(usual, usual)
    a, b = harness.upstreams
    for _ in range(100):
        harness.teach(a, 0.01)
        harness.teach(b, 0.01)
    harness.teach(a, 1.0)
    assert harness.picks() == {b: 1000}


def test_good_answers_outweigh_one_slow_answer() -> None:
    harness = Harness(usual, usual)
    a, b = harness.upstreams
    harness.teach(a, 0.1)
    for _ in range(60):
        harness.clock.advance(1.0)
        harness.teach(a, 0.009)
        harness.teach(b, 0.01)
    assert harness.picks() == {a: 1000}


def test_an_upstream_that_was_slow_once_recovers_when_idle() -> None:
    harness = Harness(*[usual] * 5)
    harness.serve(500)
    slow = harness.upstreams[0]
    harness.teach(slow, 2.0)
    assert slow not in harness.serve(100)
    harness.clock.advance(120.0)
    assert harness.serve(2000, clients=5)[slow] > 2000 / 5 / 2


def test_an_upstream_that_was_idle_is_not_flooded() -> None:
    """An unknown latency is taken as typical, not as fast."""
    harness = Harness(*[usual] * 5)
    harness.serve(500)
    idle, *others = harness.upstreams
    harness.clock.advance(3600.0)
    for one in others:
        harness.teach(one, 0.02)
    for _ in range(50):
        harness.begin()
    assert 2 <= idle.inflight <= 15  # of 50 among five; drawn in two of five pairs, it could have had 20


def test_a_new_upstream_is_not_flooded_and_gets_its_share() -> None:
    harness = Harness(*[usual] * 5)
    harness.serve(500)
    newcomer = upstream(9)
    harness.apps[newcomer] = usual
    harness.policy.rebuild([*harness.upstreams, newcomer])
    counts = harness.serve(60, clients=6)
    assert 1 <= counts[newcomer] <= 30
    assert harness.serve(6000, clients=6)[newcomer] > 6000 / 6 / 2


def test_a_slower_upstream_gets_less_but_not_nothing() -> None:
    def slower(random: Random) -> Answer:
        return 4 * usual(random)[0], Outcome.SUCCESS

    harness = Harness(usual, usual, usual, slower)
    counts = harness.serve(20_000, clients=12)
    assert 0.005 < counts[harness.upstreams[3]] / 20_000 < 0.15


@pytest.mark.parametrize("clients", [1, 10, 50])
@pytest.mark.parametrize("outcome", FAILURES, ids=lambda outcome: str(outcome.name))
def test_an_upstream_that_fails_fast_does_not_attract_traffic(outcome: Outcome, clients: int) -> None:
    """Its failures take a thousandth of the time and free its connections at once."""
    harness = Harness(*[usual] * 4, lambda random: (0.00002, outcome))
    counts = harness.serve(20_000, clients)
    assert counts[harness.upstreams[4]] / 20_000 < 0.1


def test_an_upstream_that_failed_is_tried_again() -> None:
    harness = Harness(*[usual] * 5)
    bad = harness.upstreams[4]
    harness.apps[bad] = lambda random: (0.001, Outcome.SERVER_ERROR)
    harness.serve(5000, clients=5)
    harness.apps[bad] = usual
    harness.serve(10_000, clients=5)
    assert harness.serve(5000, clients=5)[bad] > 5000 / 5 / 2


def test_if_all_fail_alike_all_are_used() -> None:
    harness = Harness(*[lambda random: (0.001, Outcome.SERVER_ERROR)] * 5)
    counts = harness.serve(5000, clients=5)
    assert min(counts[one] for one in harness.upstreams) > 5000 / 5 / 2


@pytest.mark.parametrize("outcome", TEACHES_NOTHING, ids=lambda outcome: str(outcome.name))
@pytest.mark.parametrize("latency", [0.0001, 60.0], ids=["soon", "late"])
def test_outcomes_not_caused_by_the_upstream_are_ignored(outcome: Outcome, latency: float) -> None:
    taught, untaught = Harness(*[usual] * 5), Harness(*[usual] * 5)
    for harness in (taught, untaught):
        harness.serve(500)
    for _ in range(20):
        taught.teach(taught.upstreams[0], latency, outcome)
    places = [
        [harness.upstreams.index(harness.begin()) for _ in range(200)] for harness in (taught, untaught)
    ]
    assert places[0] == places[1]


@pytest.mark.parametrize("clients", [1, 8])
def test_weights_hold_under_low_and_high_load(clients: int) -> None:
    harness = Harness(usual, usual, usual, weights=(1.0, 1.0, 0.2))
    counts = harness.serve(20_000, clients)
    assert 0.02 < counts[harness.upstreams[2]] / 20_000 < 0.2


def test_a_light_upstream_takes_over_from_a_heavy_one_that_hangs() -> None:
    harness = Harness(usual, usual, weights=(1.0, 10.0))
    light, heavy = harness.upstreams
    harness.teach(light, 0.01)
    harness.teach(heavy, 30.0)
    assert harness.picks() == {light: 1000}


def test_requests_that_end_after_their_upstream_was_removed_are_ignored() -> None:
    harness = Harness(usual, usual)
    gone, stays = harness.upstreams
    harness.policy.rebuild([stays])
    harness.policy.finished(gone, 30.0, Outcome.SUCCESS)
    harness.policy.rebuild([gone, stays])
    assert 400 < harness.picks()[gone] < 600


@pytest.mark.parametrize("decay", [0.0, -1.0])
def test_an_invalid_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="write the seconds"):
        PeakEwma(context(), decay=decay)
