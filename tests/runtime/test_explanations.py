"""The explanations that the supervisor keeps: the last ones, in bounded memory."""

from balancer.admin.explained import Wish
from balancer.messages import Explained, FailureRecord, Watch
from balancer.runtime import explanations, failed
from balancer.runtime.explanations import MOST, Explanations
from tests.fakes.explained import explanation
from tests.fakes.loop import FakeClock
from tests.fakes.messages import failure_record
from tests.fakes.specs import worker_spec


class Kept:
    """The explanations of an instance, and what was sent to its workers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[Watch] = []
        self.failures: dict[str, FailureRecord] = {}
        spec = worker_spec(explain_sample=0.25, trusted_proxies=["10.0.0.0/8"])
        self.all = Explanations(spec, broadcast=self.told.append, failure=self.failures.get, clock=self.clock)

    def take(self, *ids: str, why: str = "failure", **changes: object) -> None:
        for one in ids:
            self.all.take(Explained(records=(explanation(request_id=one, why=why, **changes),)))

    @property
    def ids(self) -> list[str]:
        return [one.request_id for one in self.all.recent()]


def test_the_newest_is_first() -> None:
    kept = Kept()
    kept.take("a", "b")
    kept.take("c", why="sample")
    assert kept.ids == ["c", "b", "a"]
    (found,) = kept.all.about("b")
    assert found == explanation(request_id="b")
    assert kept.all.about("d") == []


def test_an_error_that_no_worker_has_explained_has_what_is_known() -> None:
    kept = Kept()
    kept.failures["r1"] = failure_record(784111777.0, "/x?...")
    (found,) = kept.all.about("r1")
    assert (found.request_id, found.began, found.target) == ("r1", "1994-11-06T08:49:37.000Z", "/x?...")
    assert [one.text for one in found.story] == [
        "app1:8000 failed: connect_refused",
        "the balancer answered 502 itself: connect_refused, connection refused",
    ]
    assert found.notes == (failed.NOTE,)
    kept.take("r1")
    assert kept.all.about("r1")[0].notes == ()


def test_an_id_that_comes_again_has_several() -> None:
    kept = Kept()
    kept.take("a", status=500)
    kept.take("a", status=501)
    assert [one.status for one in kept.all.about("a")] == [501, 500]


def test_others_do_not_displace_failures() -> None:
    kept = Kept()
    kept.take("failed")
    kept.take("again", why="retry")
    kept.take(*(f"s{number}" for number in range(MOST + 5)), why="watch")
    assert len(kept.ids) == MOST + 2
    assert kept.ids[-2:] == ["again", "failed"]
    kept.take(*(f"f{number}" for number in range(MOST)))
    assert kept.all.about("failed") == []


def test_the_bytes_are_bounded_too() -> None:
    kept = Kept()
    size = 100_000
    number = 2 * explanations.MOST_BYTES // size
    kept.take(*(f"s{one}" for one in range(number)), host="x" * size)
    assert 0 < len(kept.ids) < number
    assert len(kept.ids) * size <= explanations.MOST_BYTES
    assert kept.ids[0] == f"s{number - 1}"


def test_a_filter_is_sent_to_all_workers_and_to_those_that_start() -> None:
    kept = Kept()
    assert kept.all.update() is None
    kept.all.wish(Wish(60.0, path="/api", client="192.0.2.1"))
    until = kept.clock.monotonic_ns() + 60_000_000_000
    assert kept.told == [Watch(until_ns=until, path="/api", client="192.0.2.1")]
    assert kept.all.update() == kept.told[0]
    watched = kept.all.watched()
    assert (watched.watch, watched.seconds) == ("path=/api client=192.0.2.1", 60.0)
    assert (watched.sample, watched.by_header) == (0.25, True)
    kept.clock.advance(60)
    assert kept.all.update() is None
    assert kept.all.watched().watch == ""


def test_a_filter_of_everything_has_words_too() -> None:
    kept = Kept()
    kept.all.wish(Wish(5.0))
    assert kept.all.watched().watch == "every request"
    kept.all.wish(Wish(0.0))
    assert kept.told[-1] == Watch(until_ns=0)
    assert kept.all.watched().watch == ""


def test_those_that_were_left_out_are_counted() -> None:
    kept = Kept()
    kept.all.take(Explained(left_out=3))
    kept.all.take(Explained(left_out=4))
    assert kept.all.left_out == 7
