"""What happens when files of certificates change, on a fake clock and with scripted readings."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

import pytest

from balancer.admin.view import CertificateView
from balancer.config.file_stamps import Stamp
from balancer.config.file_watch import PATIENCE
from balancer.config.pair_files import PairFiles
from balancer.runtime.certificate_process import ReadingError
from balancer.runtime.certificate_sources import (
    ReadAnswer,
    ReadAuthorities,
    ReadPair,
    ReadRequest,
    Unusable,
    WatchPlan,
)
from balancer.runtime.certificates import SLOW_LOOK, Certificates
from balancer.runtime.expiry import DAY
from balancer.spec.tls import CertificateSpec
from tests.fakes.loop import FakeClock

SITE = PairFiles("/run/site.pem", "/run/site.key")
OTHER = PairFiles("/run/other.pem")
CA = "/run/ca.pem"
INLINE = "TLS__CERTIFICATE"


class Scene:
    """Two pairs of files after one from the settings, and authorities; `disk` is what a reading finds."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[int] = []  # revisions
        self.notes: list[tuple[str, str]] = []
        self.requests: list[ReadRequest] = []
        self.trouble = ""
        self.disk_answers = asyncio.Event()
        self.disk_answers.set()
        paths = ("/run/site.pem", "/run/site.key", "/run/other.pem", CA)
        self.stamps: dict[str, Stamp] = dict.fromkeys(paths, (0, 0, 0, 0, 0))
        labels = (INLINE, SITE.certificate, OTHER.certificate)
        self.disk: dict[str, ReadPair | Unusable] = {label: self.pair(label) for label in labels}
        self.authorities: ReadAuthorities | Unusable = ReadAuthorities(pem=b"old", warnings=())
        self.certificates = Certificates(
            tuple(self.pair(label).spec for label in labels),
            b"old",
            WatchPlan(
                pairs=(SITE, OTHER),
                authorities=CA,
                issuers=dict.fromkeys(labels, "R3"),
                stamps=dict(self.stamps),
            ),
            note=self.note,
            changed=self.told.append,
            read=self.read,
            stamp_files=self.stamp,
            clock=self.clock,
            log=logging.getLogger("balancer.test.certificates"),
        )

    def pair(self, label: str, chain: bytes = b"old", days: float = 60) -> ReadPair:
        end = self.clock.wall() + days * DAY
        spec = CertificateSpec(label=label, names=("a.example",), chain=chain, key=b"key", not_after=end)
        return ReadPair(spec=spec, issuer="R10", warnings=())

    def note(self, kind: str, text: str) -> int:
        self.notes.append((kind, text))
        return len(self.notes)

    async def read(self, request: ReadRequest) -> ReadAnswer:
        self.requests.append(request)
        if self.trouble:
            raise ReadingError(self.trouble)
        return ReadAnswer(
            pairs=tuple(self.disk[files.certificate] for files in request.pairs),
            authorities=self.authorities if request.authorities else None,
        )

    async def stamp(self, paths: Iterable[str]) -> Mapping[str, Stamp]:
        await self.disk_answers.wait()
        return {path: self.stamps[path] for path in paths}

    async def write(self, path: str, found: ReadPair | Unusable | None = None) -> None:
        """The file changes, and the next look sees it."""
        self.stamps[path] = (0, 0, 0, 0, self.clock.monotonic_ns())
        if found is not None:
            self.disk[path] = found
        await self.later(1)

    async def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.certificates.turn()
        for _ in range(10):  # turns of the loop: nothing here waits longer than that
            await asyncio.sleep(0)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]

    def chains(self) -> list[bytes]:
        return [each.chain for each in self.certificates.certificates]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the certificates logged: what other tests left behind may log too."""
    return [one.getMessage() for one in caplog.records if one.name == "balancer.test.certificates"]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_nothing_is_read_while_nothing_changes(scene: Scene) -> None:
    for _ in range(3):
        await scene.later(1)
    assert (scene.requests, scene.notes, scene.told) == ([], [], [])


async def test_only_what_changed_is_read_and_goes_to_all_workers(scene: Scene) -> None:
    await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new"))
    assert scene.requests == [ReadRequest(pairs=(SITE,), password_file="", authorities="")]
    assert scene.chains() == [b"old", b"new", b"old"]
    assert scene.told == [1]
    ((kind, text),) = scene.notes
    assert kind == "certificate"
    assert text == ("certificate /run/site.pem renewed: a.example, by R10, until 1995-01-05 08:49 UTC")
    await scene.later(1)
    assert len(scene.requests) == 1


async def test_several_changes_are_one_update(scene: Scene) -> None:
    scene.disk["/run/other.pem"] = scene.pair("/run/other.pem", b"new")
    scene.authorities = ReadAuthorities(pem=b"new", warnings=())
    for path in ("/run/other.pem", CA):
        scene.stamps[path] = None
    await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new"))
    assert (scene.told, scene.chains()) == ([3], [b"old", b"new", b"new"])
    assert scene.certificates.authorities == b"new"
    assert scene.kinds == ["certificate"] * 3


async def test_the_same_content_is_no_change(scene: Scene) -> None:
    scene.disk["/run/site.pem"] = scene.pair("/run/site.pem")
    await scene.write("/run/site.key")
    assert (len(scene.requests), scene.told, scene.notes) == (1, [], [])


async def test_a_pair_whose_files_change_one_after_the_other_is_taken_up_without_a_word(scene: Scene) -> None:
    await scene.write("/run/site.pem", Unusable(why="/run/site.key does not fit"))
    assert scene.chains() == [b"old"] * 3
    scene.disk["/run/site.pem"] = scene.pair("/run/site.pem", b"new")
    await scene.write("/run/site.key")
    assert scene.kinds == ["certificate"]
    await scene.later(PATIENCE)
    assert scene.kinds == ["certificate"]


async def test_what_stays_unusable_is_refused_once_per_change(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.write("/run/site.pem", Unusable(why="/run/site.pem is empty; write PEM into it"))
    for _ in range(3):
        await scene.later(PATIENCE)
    assert scene.notes == [
        (
            "certificate_refused",
            "changed files of /run/site.pem refused: /run/site.pem is empty; write PEM into it. The old one "
            "serves on, which ends on 1995-01-05 08:49 UTC",
        )
    ]
    assert (scene.told, scene.chains()) == ([], [b"old"] * 3)
    assert [one.problem for one in scene.certificates.views()] == [
        "",
        "/run/site.pem is empty; write PEM into it",
        "",
    ]
    samples = {one.name: one.reloads for one in scene.certificates.samples()}
    assert samples["/run/site.pem"] == {"renewed": 0, "refused": 1}
    with caplog.at_level("INFO", "balancer.test.certificates"):
        await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new"))
    assert "/run/site.pem can be used again" in said(caplog)
    assert (scene.kinds[-1], scene.certificates.views()[1].problem) == ("certificate", "")


async def test_one_broken_pair_does_not_hold_up_another(scene: Scene) -> None:
    scene.stamps["/run/site.pem"] = None
    scene.disk["/run/site.pem"] = Unusable(why="/run/site.pem is gone")
    await scene.write("/run/other.pem", scene.pair("/run/other.pem", b"new"))
    assert scene.chains() == [b"old", b"old", b"new"]


async def test_an_expired_one_does_not_replace_a_valid_one(scene: Scene) -> None:
    await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new", days=-1))
    await scene.later(PATIENCE)
    assert scene.kinds == ["certificate_refused"]
    assert "/run/site.pem has expired, on 1994-11-05 08:49 UTC" in scene.notes[0][1]
    assert scene.chains() == [b"old"] * 3


async def test_authorities_that_cannot_be_used_are_refused(scene: Scene) -> None:
    scene.authorities = Unusable(why=f"{CA} is empty; write PEM into it")
    await scene.write(CA)
    await scene.later(PATIENCE)
    assert scene.notes == [
        (
            "certificate_refused",
            f"changed files of {CA} refused: {CA} is empty; write PEM into it. The old one serves on",
        )
    ]
    assert scene.certificates.authorities == b"old"
    assert [one.name for one in scene.certificates.samples()][-1] == CA


async def test_if_no_process_can_read_them_it_is_tried_again_and_logged_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.trouble = "no process can be started (too many open files)"
    await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new"))
    await scene.later(1)
    assert said(caplog) == [
        "changed certificates cannot be read: no process can be started (too many open files); trying again"
    ]
    scene.trouble = ""
    await scene.later(1)
    assert len(scene.requests) == 3
    assert scene.chains() == [b"old", b"new", b"old"]
    assert "certificate_refused" not in scene.kinds


async def test_the_end_is_announced_three_times_and_when_it_is_there(scene: Scene) -> None:
    for days in (38, 2, 14, 5, 1):
        await scene.later(days * DAY)
    texts = [text for _, text in scene.notes if SITE.certificate in text]
    when = "on 1995-01-05 08:49 UTC"
    assert texts == [
        f"certificate /run/site.pem expires in less than 21 days, {when}; renew it",
        f"certificate /run/site.pem expires in less than 7 days, {when}; renew it",
        f"certificate /run/site.pem expires in less than 1 day, {when}; renew it",
        f"certificate /run/site.pem has expired, {when}: clients refuse it; renew it",
    ]
    assert set(scene.kinds) == {"certificate_expiry"}


async def test_views_are_in_the_order_of_the_settings(scene: Scene) -> None:
    assert [one.name for one in scene.certificates.views()] == [INLINE, SITE.certificate, OTHER.certificate]
    assert scene.certificates.views()[0] == CertificateView(
        INLINE, ["a.example"], "R3", "1995-01-05T08:49:37.000Z", ""
    )


async def test_a_disk_that_does_not_answer_holds_up_nothing_else(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.disk_answers.clear()
    await scene.later(1)
    for _ in range(2):
        await scene.later(SLOW_LOOK + 1)
    assert said(caplog) == ["the disk with the certificates does not answer; those that are there serve on"]
    await scene.later(40 * DAY)
    assert scene.kinds == ["certificate_expiry"] * 3
    scene.disk_answers.set()
    with caplog.at_level("INFO", "balancer.test.certificates"):
        await scene.later(1)
    assert said(caplog)[-1] == "the disk with the certificates answers again"


async def test_a_look_that_fails_does_not_end_the_looks(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    content = scene.stamps.pop(CA)
    await scene.later(1)
    assert said(caplog) == ["watching the certificates failed"]
    scene.stamps[CA] = content
    await scene.write("/run/site.pem", scene.pair("/run/site.pem", b"new"))
    assert scene.kinds == ["certificate"]
