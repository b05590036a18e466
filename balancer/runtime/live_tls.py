"""The TLS of a running instance as it is now (L7): of its listener, and of its pools with their upstreams."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from balancer.admin.view import CertificateView
from balancer.clock import Clock
from balancer.messages import TlsUpdate, UpstreamTlsUpdate
from balancer.runtime.certificate_process import read_in_process
from balancer.runtime.certificate_sources import WatchPlan
from balancer.runtime.certificates import LOOK, Certificates, Read, StampFiles, stamps_aside
from balancer.runtime.plan import Plan
from balancer.spec.part import replaced
from balancer.spec.tls import CertificateSpec, TlsSpec, UpstreamTlsSpec
from balancer.spec.worker import WorkerSpec
from balancer.telemetry.samples import CertificateSample

# Takes the TLS of a pool that has changed.
OnUpstreams = Callable[[str, UpstreamTlsSpec], None]


class LiveTls:
    """`listener` has the certificates of the TLS listener, None if there is none. `note(kind, text)` records
    an event and returns its revision; `broadcast` reaches all workers; `on_upstreams` is told too if a pool
    speaks TLS otherwise."""

    def __init__(
        self,
        plan: Plan,
        *,
        note: Callable[[str, str], int],
        broadcast: Callable[[TlsUpdate | UpstreamTlsUpdate], None],
        clock: Clock,
        log: logging.Logger,
        read: Read = read_in_process,
        stamp_files: StampFiles = stamps_aside,
    ) -> None:
        self._spec = plan.instance.worker
        self._plan = plan
        self._broadcast = broadcast
        self._watch = partial(
            Certificates, note=note, read=read, stamp_files=stamp_files, clock=clock, log=log
        )
        self.on_upstreams: OnUpstreams = lambda pool, tls: None
        self.listener = self._open_listener(plan)
        pools = {pool.name: pool.tls for pool in self._spec.pools}
        self._upstreams = {
            each.pools: self._open_upstreams(pools[each.pools[0]], each.pools, each.files)
            for each in plan.upstream_tls
        }

    async def run(self) -> None:
        """Look at the files for as long as the instance runs."""
        try:
            while True:
                for watched in self.watched:
                    watched.turn()
                await asyncio.sleep(LOOK)
        finally:
            for watched in self.watched:
                watched.close()

    def settle(self, plan: Plan, revision: int) -> None:
        """The settings are these now: look at their files, and tell workers what is in them, as of
        `revision`. What is watched already is kept as it is."""
        before, were = self.worker_spec, self._upstreams
        watched = self.watched
        was, self._plan = self._plan, plan
        self._spec = plan.instance.worker
        if not _same(_files(was), _files(plan)):
            self.listener = self._open_listener(plan)
        known = {each.pools: each.files for each in was.upstream_tls}
        pools = {pool.name: pool.tls for pool in self._spec.pools}
        self._upstreams = {
            each.pools: were[each.pools]
            if _same(known.get(each.pools), each.files)
            else self._open_upstreams(pools[each.pools[0]], each.pools, each.files)
            for each in plan.upstream_tls
        }
        for each in watched:
            if each not in self.watched:
                each.close()
        now = self.worker_spec
        if now.tls is not None and before.tls is not None and now.tls != before.tls:
            self._broadcast(TlsUpdate(revision=revision, tls=now.tls))
        speaks = {pool.name: pool.tls for pool in before.pools}
        for pool in now.pools:
            if pool.name in speaks and pool.tls != speaks[pool.name]:
                self._broadcast(UpstreamTlsUpdate(revision=revision, pool=pool.name, tls=pool.tls))
                self.on_upstreams(pool.name, pool.tls)

    def _open_listener(self, plan: Plan) -> Certificates | None:
        tls = self._spec.tls
        if tls is None or plan.tls is None:
            return None
        return self._watch(tls.certificates, tls.client_ca, plan.tls.files, changed=self._listener_changed)

    def _open_upstreams(self, tls: UpstreamTlsSpec, pools: tuple[str, ...], files: WatchPlan) -> Certificates:
        own: tuple[CertificateSpec, ...] = () if tls.certificate is None else (tls.certificate,)
        return self._watch(own, tls.ca, files, changed=lambda revision: self._pools_changed(pools, revision))

    @property
    def watched(self) -> list[Certificates]:
        """All that look at files, for as long as the instance runs."""
        return [*([] if self.listener is None else [self.listener]), *self._upstreams.values()]

    # --- changes

    def _listener_changed(self, revision: int) -> None:
        tls = self._listener_tls()
        assert tls is not None
        self._broadcast(TlsUpdate(revision=revision, tls=tls))

    def _pools_changed(self, pools: tuple[str, ...], revision: int) -> None:
        for pool in self.worker_spec.pools:
            if pool.name in pools:
                self._broadcast(UpstreamTlsUpdate(revision=revision, pool=pool.name, tls=pool.tls))
                self.on_upstreams(pool.name, pool.tls)

    def _listener_tls(self) -> TlsSpec | None:
        tls, listener = self._spec.tls, self.listener
        if tls is None or listener is None:
            return tls
        return replaced(tls, certificates=listener.certificates, client_ca=listener.authorities)

    @property
    def worker_spec(self) -> WorkerSpec:
        """The spec for a worker that starts now."""
        present = {pool: watched for pools, watched in self._upstreams.items() for pool in pools}
        pools = tuple(
            replaced(pool, tls=_with(pool.tls, present[pool.name])) if pool.name in present else pool
            for pool in self._spec.pools
        )
        return replaced(self._spec, tls=self._listener_tls(), pools=pools)

    # --- for the admin application

    def views(self) -> list[CertificateView]:
        """All certificates, those of the listener first."""
        views = [] if self.listener is None else self.listener.views()
        for pools, watched in self._upstreams.items():
            views += [replace(view, pools=list(pools)) for view in watched.views()]
        return views

    def samples(self) -> Sequence[CertificateSample]:
        """What the metrics show, once for each file."""
        samples: dict[str, CertificateSample] = {}
        for watched in self.watched:
            for sample in watched.samples():
                samples.setdefault(sample.name, sample)
        return list(samples.values())


def _files(plan: Plan) -> WatchPlan | None:
    """Those of the TLS listener."""
    return None if plan.tls is None else plan.tls.files


def _same(before: WatchPlan | None, now: WatchPlan | None) -> bool:
    """Whether the same files are looked at; their stamps are of the moment they were read."""
    if before is None or now is None:
        return before is now
    return replaced(before, stamps={}, issuers={}, awaited=()) == replaced(
        now, stamps={}, issuers={}, awaited=()
    )


def _with(tls: UpstreamTlsSpec, watched: Certificates) -> UpstreamTlsSpec:
    certificate = next(iter(watched.certificates), None)
    return replaced(tls, ca=watched.authorities, certificate=certificate)
