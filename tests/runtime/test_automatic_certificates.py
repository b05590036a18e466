"""Certificates that are ordered here: until there is one, when it comes, and when it is late."""

import pytest

from balancer.config.file_watch import PATIENCE
from balancer.config.pair_files import PairFiles
from balancer.runtime.certificate_sources import ReadPair, Unusable, WatchPlan
from balancer.runtime.certificates import Certificates
from balancer.runtime.expiry import DAY
from balancer.spec.tls import CertificateSpec
from tests.runtime.test_certificates import SITE, Scene

DOMAIN = "shop.example"
FILE = "/var/lib/balancer/ca/certificates/shop.example.pem"


class AutomaticScene(Scene):
    """A pair of files, then an automatic certificate, which is self-signed."""

    def __init__(self) -> None:
        super().__init__()
        now = self.clock.wall()
        self_signed = CertificateSpec(
            label=DOMAIN, names=(DOMAIN,), chain=b"self", key=b"k", not_before=now, not_after=now + 365 * DAY
        )
        self.stamps[FILE] = None
        self.certificates = Certificates(
            (self.pair(SITE.certificate).spec, self_signed),
            b"",
            WatchPlan(
                pairs=(SITE, PairFiles(FILE)),
                authorities="",
                issuers={SITE.certificate: "R3", DOMAIN: "balancer"},
                stamps=dict(self.stamps),
                automatic=(DOMAIN,),
                awaited=(DOMAIN,),
            ),
            note=self.note,
            changed=self.told.append,
            read=self.read,
            stamp_files=self.stamp,
            clock=self.clock,
            log=self.certificates._log,
        )

    def issued(self, *names: str, days: float = 90, age: float = 0) -> ReadPair:
        now = self.clock.wall() - age * DAY
        spec = CertificateSpec(
            label=FILE,  # as its reader calls it
            names=names or (DOMAIN,),
            chain=b"issued",
            key=b"k",
            not_before=now,
            not_after=now + days * DAY,
        )
        return ReadPair(spec=spec, issuer="E7", warnings=())


@pytest.fixture
def scene() -> AutomaticScene:
    return AutomaticScene()


async def test_the_first_one_is_taken_up_when_its_file_is_there(scene: AutomaticScene) -> None:
    assert scene.certificates.awaited == {DOMAIN}
    await scene.write(FILE, scene.issued())
    assert scene.chains() == [b"old", b"issued"]
    assert scene.certificates.certificates[1].label == DOMAIN
    assert scene.certificates.awaited == set()
    ((kind, text),) = scene.notes
    assert kind == "certificate"
    assert text.startswith(f"certificate {DOMAIN} issued: {DOMAIN}, by E7, until ")
    assert scene.certificates.views()[1].issuer == "E7"


async def test_its_end_is_shown_only_when_there_is_one(scene: AutomaticScene) -> None:
    assert [one.name for one in scene.certificates.samples() if one.validity is None] == [DOMAIN]
    await scene.write(FILE, scene.issued())
    spec = scene.issued().spec
    validity = [one.validity for one in scene.certificates.samples()][1]
    assert validity == (spec.not_before - 1, spec.not_after - 1)


async def test_the_next_one_is_called_renewed(scene: AutomaticScene) -> None:
    await scene.write(FILE, scene.issued())
    await scene.write(FILE, scene.issued(days=91))
    assert [text.split(":")[0] for _, text in scene.notes] == [
        f"certificate {DOMAIN} issued",
        f"certificate {DOMAIN} renewed",
    ]


@pytest.mark.parametrize("names", [("other.example",), ("www.shop.example",)])
async def test_one_for_another_name_is_refused(scene: AutomaticScene, names: tuple[str, ...]) -> None:
    await scene.write(FILE, scene.issued(*names))
    await scene.later(PATIENCE)
    assert scene.chains() == [b"old", b"self"]
    ((kind, text),) = scene.notes
    assert kind == "certificate_refused"
    assert f"{FILE} is not a certificate for {DOMAIN}" in text


async def test_a_mangled_file_changes_nothing(scene: AutomaticScene) -> None:
    await scene.write(FILE, scene.issued())
    await scene.write(FILE, Unusable(why=f"{FILE} is empty"))
    await scene.later(PATIENCE)
    assert scene.chains() == [b"old", b"issued"]
    assert scene.kinds == ["certificate", "certificate_refused"]


@pytest.mark.parametrize("days", [90.0, 6.0], ids=["90 days", "6 days"])
async def test_its_end_is_announced_only_if_it_should_have_been_renewed(
    scene: AutomaticScene, days: float
) -> None:
    await scene.write(FILE, scene.issued(days=days))
    scene.notes.clear()
    await scene.later(days * DAY * 0.74)
    assert [text for _, text in scene.notes if DOMAIN in text] == []
    await scene.later(days * DAY * 0.06)
    (text,) = [text for _, text in scene.notes if DOMAIN in text]
    assert text.startswith(f"certificate {DOMAIN} expires in less than ")
    assert text.endswith("; its renewals fail")
