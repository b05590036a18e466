"""What an instance orders, when, and what becomes of it: on a fake clock, with a scripted authority."""

import asyncio
import errno
import logging
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from balancer.acme.problem import Cause
from balancer.messages import Challenges
from balancer.runtime.acme import DISK, OTHERS_LOOK, PENDING, SETTLE, Acme
from balancer.runtime.acme_files import Folder, read_state
from balancer.runtime.acme_lock import FolderLock
from balancer.runtime.acme_parts import AcmePlan, Failed, Ordered, OrderRequest, Pending, State
from balancer.runtime.acme_process import OnNote, OnPublish
from balancer.runtime.acme_schedule import UNFINISHED
from balancer.spec.tls import CertificateSpec, ChallengeSpec
from tests.fakes.loop import FakeClock

DAY, HOUR = 86400.0, 3600.0
SHOP, HELP = "shop.example", "help.example"
PROOF = ChallengeSpec(domain=SHOP, token="t0ken", answer="t0ken.thumbprint")
OTHER_PROOF = ChallengeSpec(domain=HELP, chain=b"chain", key=b"key")
AWAY = Failed(cause=Cause.UNREACHABLE, why="ca.test cannot be reached: connection refused")
LIMITED = Failed(cause=Cause.LIMITED, why="ca.test says: too many orders (rateLimited)", retry_after=7200.0)
REFUSED = Failed(cause=Cause.REFUSED, why="ca.test says: CAA forbids it (caa)")

ResultT = TypeVar("ResultT")


async def at_once(name: str, call: Callable[[], ResultT]) -> ResultT:
    return call()


class Shelf:
    """The certificates that are served. `delivery` are those that the next look finds."""

    def __init__(self, clock: FakeClock, domains: tuple[str, ...]) -> None:
        self.clock = clock
        self.awaited = set(domains)
        self.delivery: dict[str, float] = {}  # domain -> lifetime
        self.certificates = tuple(map(self.made, domains))

    def made(self, domain: str, lifetime: float = 365 * DAY) -> CertificateSpec:
        now = self.clock.wall()
        return CertificateSpec(
            label=domain, names=(domain,), chain=b"", key=b"", not_before=now, not_after=now + lifetime
        )

    async def look(self) -> None:
        for domain, lifetime in self.delivery.items():
            self.awaited.discard(domain)
            new = self.made(domain, lifetime)
            self.certificates = tuple(new if one.label == domain else one for one in self.certificates)
        self.delivery = {}


class Scene:
    """One instance. `answers` are those of the authority, the last one for all further orders; None: it
    hangs, until `hang` is released."""

    def __init__(self, folder: Path, *domains: str, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.folder = folder
        self.shelf = Shelf(self.clock, domains or (SHOP,))
        self.answers: list[Failed | float | None] = [90 * DAY]
        self.orders: list[tuple[float, str, str]] = []  # when, domain, kind of challenge
        self.told: list[tuple[ChallengeSpec, ...]] = []
        self.notes: list[tuple[str, str]] = []
        self.slept: list[float] = []
        self.at_publication: list[tuple[ChallengeSpec, ...]] = []
        self.hang = asyncio.Event()
        self.acme = Acme(
            AcmePlan(
                domains=domains or (SHOP,),
                awaited=domains or (SHOP,),
                directory_url="https://ca.test/dir",
                folder=str(folder),
                email="",
                ca="",
            ),
            self.shelf,
            note=self.note,
            broadcast=self.broadcast,
            clock=self.clock,
            log=logging.getLogger("balancer.test.acme"),
            place=self.place,
            call=at_once,
            sleep=self.sleep,
            random=Random(7),
        )

    def note(self, kind: str, text: str) -> int:
        self.notes.append((kind, text))
        return len(self.notes)

    def broadcast(self, message: Challenges) -> None:
        self.told.append(message.pending)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def place(self, request: OrderRequest, publish: OnPublish, note: OnNote) -> Ordered | Failed:
        self.orders.append((self.clock.wall(), request.domain, request.challenge))
        await publish((PROOF,))
        self.at_publication.append(self.acme.challenges)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await self.hang.wait()
            answer = 90 * DAY
        if isinstance(answer, Failed):
            return answer
        self.shelf.delivery[request.domain] = answer
        now = self.clock.wall()
        return Ordered(challenge=request.challenge, not_before=now, not_after=now + answer)

    async def turn(self) -> None:
        """A look, and what follows from it."""
        await self.acme.look()
        for _ in range(20):  # turns of the loop: nothing here waits longer than that
            await asyncio.sleep(0)

    async def live(self, seconds: float, step: float = 10.0) -> None:
        """Let so much time pass, with a look at each step."""
        for _ in range(int(seconds / step)):
            await self.turn()
            self.clock.advance(step)

    def state(self, domain: str = SHOP) -> State:
        return read_state(str(self.folder), domain)

    @property
    def moments(self) -> list[float]:
        """The seconds between the first order and the others."""
        return [when - self.orders[0][0] for when, _, _ in self.orders[1:]]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "ca")


async def test_a_first_certificate_is_ordered_at_once(scene: Scene) -> None:
    view = scene.acme.view(SHOP)
    assert view is not None
    assert view.state == "awaited"
    await scene.turn()
    assert [order[1:] for order in scene.orders] == [(SHOP, "http-01")]
    assert scene.shelf.awaited == set()
    assert scene.state().failures == 0
    view = scene.acme.view(SHOP)
    assert view is not None
    assert (view.state, view.error, view.failures) == ("issued", "", 0)
    assert [one.results for one in scene.acme.samples()] == [{"issued": 1, "failed": 0}]


async def test_challenges_are_shown_while_the_authority_looks_and_not_after(scene: Scene) -> None:
    await scene.turn()
    assert scene.at_publication == [(PROOF,)]
    await scene.turn()
    assert scene.told == [(PROOF,), ()]
    assert scene.slept == [SETTLE]
    assert Folder(str(scene.folder), ()).pending(scene.clock.wall()) == []


async def test_it_is_renewed_at_two_thirds_of_its_life_and_only_then(scene: Scene) -> None:
    await scene.live(59 * DAY, HOUR)
    assert len(scene.orders) == 1
    await scene.live(5 * DAY, HOUR)
    assert len(scene.orders) == 2
    assert 60 * DAY <= scene.moments[0] <= 63 * DAY


async def test_short_lives_are_renewed_too(scene: Scene) -> None:
    scene.answers = [60.0]
    await scene.live(300, 1)
    gaps = [b - a for a, b in zip([0.0, *scene.moments], scene.moments, strict=False)]
    assert all(40 <= gap <= 44 for gap in gaps)


async def test_domains_are_ordered_one_after_the_other_and_do_not_wait_for_one_that_fails(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, SHOP, HELP)
    scene.answers = [REFUSED, 90 * DAY]
    await scene.turn()
    assert [order[1] for order in scene.orders] == [SHOP]
    await scene.turn()
    assert [order[1] for order in scene.orders] == [SHOP, HELP]
    assert scene.shelf.awaited == {SHOP}


async def test_a_failure_is_an_event_and_shown_in_the_authoritys_words(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.answers = [REFUSED]
    await scene.turn()
    (note,) = scene.notes
    assert note[0] == "certificate_failed"
    assert note[1].startswith(f"no new certificate for {SHOP}: {REFUSED.why}. Next order on ")
    assert note[1].endswith("A self-signed one serves, which clients refuse")
    assert note[1] in [one.getMessage() for one in caplog.records]
    view = scene.acme.view(SHOP)
    assert view is not None
    assert (view.state, view.error, view.failures) == ("failed", REFUSED.why, 1)
    assert [one.results for one in scene.acme.samples()] == [{"issued": 0, "failed": 1}]


async def test_while_the_authority_is_away_for_an_hour_the_old_certificate_serves_on(scene: Scene) -> None:
    scene.answers = [90 * DAY, AWAY]
    await scene.live(64 * DAY, HOUR)  # the renewal is due, and fails
    before = scene.shelf.certificates
    count = len(scene.orders)
    await scene.live(HOUR)
    assert scene.shelf.certificates == before
    assert len(scene.orders) - count <= 2
    assert scene.notes[-1][1].rpartition(". ")[2].startswith("The old one serves on, which ends on ")
    scene.answers = [90 * DAY]
    await scene.live(3 * HOUR)
    assert scene.shelf.certificates != before


async def test_an_authority_that_is_away_is_asked_again_soon_and_then_each_hour(scene: Scene) -> None:
    scene.answers = [AWAY]
    await scene.live(5 * HOUR)
    gaps = [b - a for a, b in zip([0.0, *scene.moments], scene.moments, strict=False)]
    assert gaps[0] < 60
    assert all(HOUR <= gap <= 1.25 * HOUR + 10 for gap in gaps[7:])
    assert len(gaps) < 14


@pytest.mark.parametrize("answer", [AWAY, LIMITED], ids=["away", "too many orders"])
async def test_many_domains_do_not_rush_an_authority(tmp_path: Path, answer: Failed) -> None:
    scene = Scene(tmp_path, *(f"shop{number}.example" for number in range(20)))
    scene.answers = [answer]
    await scene.live(300, step=1.0)
    assert len(scene.orders) == 10  # one each 30 s


async def test_a_clock_that_is_set_back_by_years_holds_nothing_up(tmp_path: Path) -> None:
    class Clock(FakeClock):
        def set_back(self, seconds: float) -> None:
            self._wall -= seconds

    clock = Clock()
    scene = Scene(tmp_path, SHOP, HELP, clock=clock)
    scene.answers = [AWAY, 90 * DAY]
    await scene.turn()
    assert [domain for _, domain, _ in scene.orders] == [SHOP]
    clock.set_back(3650 * DAY)
    await scene.live(2 * DISK)
    assert sorted(domain for _, domain, _ in scene.orders[1:]) == [HELP, SHOP]


async def test_near_the_end_of_a_certificate_orders_do_not_come_more_often(scene: Scene) -> None:
    scene.answers = [90 * DAY, REFUSED]
    await scene.live(95 * DAY, HOUR)
    days = (95 - 60) * DAY
    assert 8 < len(scene.orders) - 1 < 10 + days / (12 * HOUR)


async def test_retry_after_is_kept_to(scene: Scene) -> None:
    limited = Failed(cause=Cause.LIMITED, why="too many", retry_after=5 * HOUR)
    scene.answers = [limited, 90 * DAY]
    await scene.live(6 * HOUR)
    assert len(scene.orders) == 2
    assert 5 * HOUR <= scene.moments[0] <= 5 * HOUR + 20


async def test_if_nothing_was_found_the_other_challenge_is_tried_at_once(scene: Scene) -> None:
    scene.answers = [Failed(cause=Cause.CHALLENGE, why="connection refused"), 90 * DAY]
    await scene.live(20, 1)
    assert [order[2] for order in scene.orders] == ["http-01", "tls-alpn-01"]
    await scene.live(64 * DAY, HOUR)
    assert scene.orders[-1][2] == "tls-alpn-01"  # it is remembered


async def test_a_restart_loop_orders_no_more_often_than_a_running_instance(tmp_path: Path) -> None:
    clock = FakeClock()
    count = 0
    for _ in range(100):
        scene = Scene(tmp_path, clock=clock)
        scene.answers = [REFUSED]
        await scene.turn()
        count += len(scene.orders)
        clock.advance(30)
    assert count == 3  # in 50 minutes


async def test_a_process_that_dies_while_it_orders_waits_as_after_a_failure(tmp_path: Path) -> None:
    clock = FakeClock()
    dying = Scene(tmp_path, clock=clock)
    dying.answers = [None]
    await dying.turn()
    assert dying.acme.is_ordering
    dying.acme._lock.free()  # as the kernel does it
    next_one = Scene(tmp_path, clock=clock)
    await next_one.turn()
    assert next_one.orders == []
    view = next_one.acme.view(SHOP)
    assert view is not None
    assert "has ended in it" in view.error
    clock.advance(UNFINISHED)
    await next_one.turn()
    assert len(next_one.orders) == 1
    dying.hang.set()
    await dying.turn()


async def test_an_instance_that_is_told_to_end_leaves_the_storage_in_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.answers = [None]
    task = asyncio.create_task(scene.acme.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert scene.acme.is_ordering
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not scene.acme.is_ordering
    assert Folder(str(tmp_path), ()).pending(scene.clock.wall()) == []
    assert scene.state().error == ""
    assert FolderLock(str(tmp_path)).take()
    assert [kind for kind, _ in scene.notes] == ["certificate_awaited"]


# --- instances that share the storage


async def test_one_of_two_instances_orders(tmp_path: Path) -> None:
    first, second = Scene(tmp_path), Scene(tmp_path)
    first.answers = [None]
    await first.turn()
    await second.turn()
    assert (len(first.orders), len(second.orders)) == (1, 0)
    first.hang.set()
    await first.turn()
    second.shelf.delivery = {SHOP: 90 * DAY}  # it is in the storage
    await second.live(100)
    assert second.orders == []


async def test_the_other_instance_shows_the_challenges_too(tmp_path: Path) -> None:
    first, second = Scene(tmp_path), Scene(tmp_path)
    first.answers = [None]
    await first.turn()
    await second.turn()
    assert second.acme.challenges == (PROOF,)
    first.hang.set()
    await first.turn()
    second.shelf.delivery = {SHOP: 90 * DAY}
    await second.turn()
    assert second.told == [(PROOF,), ()]


async def test_challenges_of_others_are_shown_until_they_are_withdrawn_or_too_old(scene: Scene) -> None:
    other = Folder(str(scene.folder), (HELP,))
    scene.answers = [REFUSED]
    await scene.live(10)
    scene.told.clear()
    until = scene.clock.wall() + PENDING
    other.publish(HELP, Pending(challenges=(OTHER_PROOF,), until=until))
    await scene.turn()
    other.withdraw(HELP)
    await scene.turn()
    other.publish(HELP, Pending(challenges=(OTHER_PROOF,), until=until))
    await scene.turn()
    scene.clock.advance(PENDING)
    await scene.turn()
    assert scene.told == [(OTHER_PROOF,), (), (OTHER_PROOF,), ()]


async def test_other_instances_get_time_to_look(tmp_path: Path) -> None:
    other = FolderLock(str(tmp_path))
    other.join()
    scene = Scene(tmp_path)
    await scene.turn()
    assert scene.slept == [OTHERS_LOOK]
    other.close()


async def test_what_another_instance_has_just_ordered_is_not_ordered_again(scene: Scene) -> None:
    scene.shelf.delivery = {SHOP: 90 * DAY}
    await scene.live(60)
    assert scene.orders == []


async def test_the_back_off_of_another_instance_counts(tmp_path: Path) -> None:
    clock = FakeClock()
    first, second = Scene(tmp_path, clock=clock), Scene(tmp_path, clock=clock)
    first.answers = second.answers = [REFUSED]
    for _ in range(60):
        await first.turn()
        await second.turn()
        clock.advance(10)
    assert len(first.orders) + len(second.orders) == 1


def test_the_lock_has_one_holder_and_is_free_when_that_has_ended(tmp_path: Path) -> None:
    first, second = FolderLock(str(tmp_path)), FolderLock(str(tmp_path))
    assert (first.take(), second.take()) == (True, False)
    first.close()
    assert second.take()
    second.close()


def test_instances_see_each_other(tmp_path: Path) -> None:
    first, second, third = (FolderLock(str(tmp_path)) for _ in range(3))
    assert first.is_alone()
    second.join()
    third.join()
    assert not first.is_alone()
    assert not second.is_alone()
    second.close()
    assert not first.is_alone()
    third.close()
    assert first.is_alone()
    assert first.is_alone()  # it has not lost its own lock by looking
    second.join()
    assert not first.is_alone()
    for each in (first, second):
        each.close()


def test_without_locks_an_instance_orders_and_never_is_alone_for_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    lock = FolderLock(str(tmp_path))
    assert lock.take()
    assert not lock.is_alone()
    lock.close()


# --- trouble with the storage


async def test_a_storage_that_cannot_be_written_to_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "ca"
    folder.write_text("not a directory")
    scene = Scene(folder)
    await scene.live(3 * DISK)
    assert scene.orders == []
    (line,) = [one.getMessage() for one in caplog.records if one.name == "balancer.test.acme"]
    assert line.startswith(f"TLS__ACME__STORAGE: {folder}")
    view = scene.acme.view(SHOP)
    assert view is not None
    assert "storage" in view.error
    folder.unlink()
    await scene.live(2 * DISK)
    assert len(scene.orders) == 1
    view = scene.acme.view(SHOP)
    assert view is not None
    assert view.error == ""


async def test_nothing_is_ordered_that_could_not_be_kept(scene: Scene) -> None:
    place = scene.folder / "certificates"
    scene.folder.mkdir()
    place.write_text("not a directory")
    await scene.live(2 * DISK)
    assert scene.orders == []
    place.unlink()
    await scene.live(2 * DISK)
    assert len(scene.orders) == 1
    assert list(place.iterdir()) == []


async def test_what_a_process_has_left_half_written_goes_with_the_next_order(scene: Scene) -> None:
    left = [scene.folder / ".new-7-account.json", scene.folder / "certificates" / ".new-7-shop.example.pem"]
    left[1].parent.mkdir(parents=True)
    for path in left:
        path.write_text("{")
    await scene.turn()
    assert not any(path.exists() for path in left)


async def test_trouble_with_the_storage_ends_though_nothing_is_due(scene: Scene) -> None:
    await scene.turn()
    pending = scene.folder / "pending"
    pending.rmdir()
    pending.write_text("not a directory")
    await scene.turn()
    view = scene.acme.view(SHOP)
    assert view is not None
    assert "storage" in view.error
    pending.unlink()
    await scene.live(2 * DISK)
    view = scene.acme.view(SHOP)
    assert view is not None
    assert view.error == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"failures": "many"}'])
async def test_a_mangled_state_counts_as_none(scene: Scene, text: str) -> None:
    file = scene.folder / "state" / f"{SHOP}.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    await scene.turn()
    assert len(scene.orders) == 1
    assert scene.state().error == ""


async def test_mangled_challenges_are_ignored(scene: Scene) -> None:
    file = scene.folder / "pending" / "x.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    await scene.turn()
    assert len(scene.orders) == 1
