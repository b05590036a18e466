"""The TLS of an instance, when files change: which workers and checks hear of it, on scripted readings."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from balancer.config.file_stamps import Stamp, stamps
from balancer.config.file_watch import PATIENCE
from balancer.config.loader import load_with_origins
from balancer.messages import TlsUpdate, UpstreamTlsUpdate
from balancer.policies import registry
from balancer.runtime.certificate_reading import answer_to
from balancer.runtime.certificate_sources import ReadAnswer, ReadRequest
from balancer.runtime.live_tls import LiveTls
from balancer.runtime.plan import Plan
from balancer.runtime.planning import plan
from balancer.spec.tls import UpstreamTlsSpec
from tests.fakes.certificates import authority, made, pair_in, text_of
from tests.fakes.loop import FakeClock


class Scene:
    """A listener, and three pools: `default` and `web` show the same certificate, `api` trusts others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        site, site_key = pair_in(folder)
        own, own_key = pair_in(folder, "own", "balancer.example")
        self.ca, self.api_ca = folder / "ca.pem", folder / "api.pem"
        self.ca.write_bytes(text_of(authority().cert_pem))
        self.api_ca.write_bytes(text_of(authority().cert_pem))
        settings = {
            "UPSTREAMS": "https://app:8443",
            "UPSTREAM_TLS__CA": str(self.ca),
            "UPSTREAM_TLS__CERTIFICATE": str(own),
            "UPSTREAM_TLS__KEY": str(own_key),
            "POOLS__WEB__UPSTREAMS": "https://web:8443",
            "POOLS__API__UPSTREAMS": "https://api:8443",
            "POOLS__API__UPSTREAM_TLS__CA": str(self.api_ca),
            "ROUTES": "/api/=api, /web/=web, /=default",
            "TLS__CERTIFICATES": f"{site}:{site_key}",
            "TLS__CLIENT_CA": str(self.ca),
        }
        self.environ = {f"BALANCER_{name}": value for name, value in settings.items()}
        self.plan = plan(load_with_origins(self.environ, None, registry), 65536)
        self.clock = FakeClock()
        self.broadcast: list[TlsUpdate | UpstreamTlsUpdate] = []
        self.checks: list[tuple[str, UpstreamTlsSpec]] = []
        self.notes: list[tuple[str, str]] = []
        self.requests: list[ReadRequest] = []
        self.tls = LiveTls(
            self.plan,
            note=self.note,
            broadcast=self.broadcast.append,
            clock=self.clock,
            log=logging.getLogger("balancer.test"),
            read=self.read,
            stamp_files=self.stamp,
        )
        self.tls.on_upstreams = lambda pool, tls: self.checks.append((pool, tls))

    def note(self, kind: str, text: str) -> int:
        self.notes.append((kind, text))
        return len(self.notes)

    async def read(self, request: ReadRequest) -> ReadAnswer:
        self.requests.append(request)
        return answer_to(request, self.clock.wall())

    async def stamp(self, paths: Iterable[str]) -> Mapping[str, Stamp]:
        return stamps(paths)

    async def later(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        for watched in self.tls.watched:
            watched.turn()
        for _ in range(10):
            await asyncio.sleep(0)

    def pool(self, name: str) -> UpstreamTlsSpec:
        """As a worker that starts now gets it."""
        return next(pool.tls for pool in self.tls.worker_spec.pools if pool.name == name)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_nothing_changes_by_itself(scene: Scene) -> None:
    await scene.later()
    assert scene.tls.worker_spec == scene.plan.instance.worker
    assert (scene.broadcast, scene.requests) == ([], [])


async def test_a_renewed_certificate_goes_to_all_pools_that_show_it(scene: Scene) -> None:
    before = scene.pool("default").certificate
    pair_in(scene.folder, "own", "renewed.example")
    await scene.later()
    pools = [each.pool for each in scene.broadcast if isinstance(each, UpstreamTlsUpdate)]
    assert pools == ["default", "web", "api"]
    assert [pool for pool, _ in scene.checks] == pools
    after = scene.pool("default").certificate
    assert after is not None
    assert before is not None
    assert (after.label, after.names) == (before.label, ("renewed.example",))
    assert [scene.pool(name).certificate for name in pools] == [after] * 3
    assert {request.for_upstreams for request in scene.requests} == {True}
    assert {kind for kind, _ in scene.notes} == {"certificate"}


async def test_authorities_go_to_those_who_have_them(scene: Scene) -> None:
    other = made("other").pem
    scene.api_ca.write_bytes(other)
    await scene.later()
    (update,) = scene.broadcast
    assert isinstance(update, UpstreamTlsUpdate)
    assert (update.pool, update.tls.ca) == ("api", other)
    assert scene.notes == [("certificate", f"authorities of upstreams {scene.api_ca} replaced")]
    assert scene.pool("default").ca != other


async def test_authorities_of_clients_go_to_the_listener(scene: Scene) -> None:
    other = made("other").pem
    scene.ca.write_bytes(other)
    await scene.later()
    assert [type(each) for each in scene.broadcast] == [TlsUpdate, UpstreamTlsUpdate, UpstreamTlsUpdate]
    assert scene.tls.worker_spec.tls is not None
    assert scene.tls.worker_spec.tls.client_ca == other


async def test_files_that_cannot_be_used_change_nothing(scene: Scene) -> None:
    scene.api_ca.write_bytes(b"nonsense")
    await scene.later()
    await scene.later(PATIENCE)
    assert scene.broadcast == []
    ((kind, text),) = scene.notes
    assert kind == "certificate_refused"
    assert text.startswith(f"changed files of {scene.api_ca} refused: {scene.api_ca} is not PEM")
    samples = {sample.name: sample.reloads for sample in scene.tls.samples()}
    assert samples[str(scene.api_ca)] == {"renewed": 0, "refused": 1}


async def test_a_file_is_shown_once_in_metrics_and_for_each_use_in_views(scene: Scene) -> None:
    names = [sample.name for sample in scene.tls.samples()]
    assert sorted(names) == sorted(set(names))
    assert str(scene.ca) in names
    shown = [(Path(view.name).name, view.pools) for view in scene.tls.views()]
    assert shown == [("site.pem", []), ("own.pem", ["default", "web"]), ("own.pem", ["api"])]


def other_plan(scene: Scene, **changes: str) -> Plan:
    """The plan of a reload with these settings, as variables without their prefix; "" for none."""
    environ = {**scene.environ, **{f"BALANCER_{name}": value for name, value in changes.items()}}
    return plan(load_with_origins(environ, None, registry), 65536)


async def test_a_reload_with_the_same_files_keeps_what_is_watched(scene: Scene) -> None:
    """And what has been taken up since the start."""
    other = made("other").pem
    scene.api_ca.write_bytes(other)
    await scene.later()
    watched, told = scene.tls.watched, list(scene.broadcast)
    scene.tls.settle(other_plan(scene, RETRY__MAX_ATTEMPTS="5"), 7)
    assert scene.tls.watched == watched
    assert scene.broadcast == told
    assert scene.pool("api").ca == other


async def test_a_reload_tells_workers_and_checks_of_other_files(scene: Scene) -> None:
    other = scene.folder / "other.pem"
    other.write_bytes(made("other").pem)
    watched = scene.tls.watched
    scene.tls.settle(other_plan(scene, POOLS__API__UPSTREAM_TLS__CA=str(other)), 7)
    (update,) = scene.broadcast
    assert isinstance(update, UpstreamTlsUpdate)
    assert (update.pool, update.revision, update.tls.ca) == ("api", 7, other.read_bytes())
    assert [pool for pool, _ in scene.checks] == ["api"]
    assert len({*scene.tls.watched} - {*watched}) == 1
    other.write_bytes(made("third").pem)
    await scene.later()
    assert scene.pool("api").ca == other.read_bytes()  # the new file is watched


async def test_a_reload_may_ask_clients_for_no_certificate_any_more(scene: Scene) -> None:
    scene.tls.settle(other_plan(scene, TLS__CLIENT_CA=""), 7)
    (update,) = scene.broadcast
    assert isinstance(update, TlsUpdate)
    assert (update.revision, update.tls.client_ca) == (7, b"")


async def test_a_pool_that_a_reload_removes_is_not_watched_any_more(scene: Scene) -> None:
    pools = {
        "POOLS__API__UPSTREAMS": "",
        "POOLS__API__UPSTREAM_TLS__CA": "",
        "ROUTES": "/web/=web, /=default",
    }
    scene.tls.settle(other_plan(scene, **pools), 7)
    assert scene.broadcast == []
    assert [view.pools for view in scene.tls.views()] == [[], ["default", "web"]]
