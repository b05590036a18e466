"""The operator's live changes to upstreams (L7), which override the settings.

`keeping` makes them outlast the instance; those of an upstream that discovery found end when it is removed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from balancer.admin.view import REGISTERED, Change, GateWish, LiveChange, RefusedError, SplitChange, moment
from balancer.clock import Clock
from balancer.config.exported import Exported, as_file
from balancer.config.upstream_spec import DEFAULT, UpstreamSpec, parse_upstream
from balancer.runtime.additions import add, parsed, register, whose_is
from balancer.runtime.fleet import Fleet
from balancer.runtime.kept import KeptSplit, KeptUpstream, ReadOnlyRoute, Registered
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.splits import Splits
from balancer.runtime.states import ADDED, API, UpstreamState
from balancer.upstreams.state import AdminState, in_words

# Of registrations that are restored, in seconds: what each gets at least, and how late it may be. The file is
# up to a minute old after a crash.
GRACE, LATEST = 30, 120


class Operator:
    """Applies the operator's changes, and lists the present ones. `by` is who asks for a change.

    A change that finds everything as it wants it does nothing, and leaves the revision as it is.
    """

    def __init__(self, fleet: Fleet, splits: Splits, readonly: ReadonlyRoutes, clock: Clock) -> None:
        self._fleet = fleet
        self._splits = splits
        self._readonly = readonly
        self._clock = clock
        self._revision = 0
        self.on_change: Callable[[], None] = _nobody  # called after each change
        # Called before all changes are forgotten; whether there were any that wait for an upstream.
        self.on_forget: Callable[[], bool] = bool
        splits.taken_back = self.changed

    @property
    def revision(self) -> int:
        """Of what operators have set; it only grows, and goes on over what was kept (see `resume`)."""
        return self._revision

    def changed(self) -> None:
        """What operators have set is not as before: raise the revision."""
        self._revision += 1
        self.on_change()

    def change(self, pool: str, upstream: str, change: Change, by: str) -> None:
        """Apply a change to the fleet. Raises KeyError if the upstream does not exist any more."""
        found = self._fleet.pools[pool].upstreams[upstream]
        before = found.weight, found.wanted
        if change.weight is not None:
            self._fleet.set_weight(found, change.weight)
        if change.admin_state is not None:
            self._fleet.set_admin_state(found, AdminState(change.admin_state))
        if (found.weight, found.wanted) != before:
            self._mark(found, by)

    def _mark(self, upstream: UpstreamState, by: str) -> None:
        upstream.changed_by, upstream.changed_at = by, self._clock.wall()
        self.changed()

    def add(self, pool: str, text: str, by: str) -> str:
        """Add the upstream that `text`, an entry of UPSTREAMS, names; returns its id. If it is there already,
        with these options, nothing changes. Raises RefusedError."""
        spec = parsed(text)
        if (there := self._fleet.pools[pool].upstreams.get(spec.id)) is not None:
            if there.expires_ns:
                raise RefusedError(f"{spec.id} is there for a time; DELETE it first, to add it for good")
            if (now := _as_entry(there)) != spec:
                raise RefusedError(f"pool {pool} has {spec.id} already, as {now}; PATCH changes its weight")
            return spec.id
        self._mark(add(self._fleet, pool, spec, API), by)
        return spec.id

    def remove(self, pool: str, upstream: str, by: str) -> None:
        """Remove an upstream. Raises RefusedError if `add` did not add it, KeyError if there is none."""
        found = self._fleet.pools[pool].upstreams[upstream]
        if found.source not in ADDED:
            raise RefusedError(
                f"{upstream} comes from {whose_is(found)}; "
                'PATCH {"admin_state": "maintenance"} takes it out'
            )
        self._fleet.remove(found)
        self.changed()

    def split(self, route: str, weights: Mapping[str, int], gate: GateWish | None, by: str) -> None:
        """Divide a route's requests otherwise. Raises RefusedError."""
        if self._splits.set(route, weights, gate, by):
            self.changed()

    def set_read_only(self, route: str, seconds: float) -> None:
        """Serve no changes on a route for a while; 0 ends it. Raises RefusedError."""
        if self._readonly.set(route, seconds):
            self.changed()

    # --- what is kept

    def kept(self) -> tuple[tuple[KeptUpstream, ...], tuple[KeptSplit, ...]]:
        """What operators have set, in the form that outlives the instance."""
        changed = [one for one in self._fleet.upstreams() if _is_changed(one)]
        splits = [
            KeptSplit(route=route, weights=dict(weights), by=by, at=at)
            for route, weights, by, at in self._splits.kept()
        ]
        return tuple(map(_kept, changed)), tuple(splits)

    def restore(self, upstream: UpstreamState, kept: KeptUpstream) -> None:
        """Set again what was kept of an upstream."""
        if kept.weight is not None:
            self._fleet.set_weight(upstream, kept.weight)
        if kept.admin_state is not None:
            self._fleet.set_admin_state(upstream, AdminState(kept.admin_state))
        upstream.changed_by, upstream.changed_at = kept.by, kept.at
        self.changed()

    def restore_split(self, kept: KeptSplit) -> None:
        """Set again what was kept of a split. Raises RefusedError."""
        if self._splits.set(kept.route, kept.weights, None, kept.by):
            self.changed()

    def registered(self) -> tuple[Registered, ...]:
        """The upstreams that are there for a time, in the form that outlives the instance."""
        now_ns, now = self._clock.monotonic_ns(), self._clock.wall()
        return tuple(
            Registered(
                pool=one.pool,
                entry=str(_as_entry(one)),
                until=float(round(now + (one.expires_ns - now_ns) / 1e9)),
                by_app=one.source == REGISTERED,
            )
            for one in self._fleet.upstreams()
            if one.expires_ns
        )

    def restore_registered(self, kept: Registered) -> None:
        """Register again what was kept, for the rest of its time, or GRACE: an app renews it if it is there,
        and after a crash the last renewals are not in the file. Raises RefusedError."""
        left = math.ceil(kept.until - self._clock.wall())
        if left > -LATEST:
            register(self._fleet, kept.pool, kept.entry, max(left, GRACE), by_app=kept.by_app)

    def read_only(self) -> tuple[ReadOnlyRoute, ...]:
        """The routes that serve no changes, in the form that outlives the instance."""
        now = self._clock.wall()
        left = self._readonly.all_left()
        return tuple(ReadOnlyRoute(route=route, until=float(round(now + seconds))) for route, seconds in left)

    def restore_read_only(self, kept: ReadOnlyRoute) -> None:
        """Serve no changes there for the rest of its time. Raises RefusedError."""
        left = kept.until - self._clock.wall()
        if left > 0:
            self._readonly.set(kept.route, left)

    def resume(self, revision: int) -> None:
        """Count on from an earlier revision, so that no condition of before is met by chance."""
        self._revision = max(self._revision, revision + 1)

    def has_changed(self, upstream: UpstreamState) -> bool:
        """Whether an upstream is not as in the settings."""
        return _is_changed(upstream)

    def forget(self, by: str) -> None:
        """Make everything as in the settings again."""
        is_changed = self.on_forget() or bool(self.live_changes())
        for upstream in [one for one in self._fleet.upstreams() if _is_changed(one)]:
            if _is_added(upstream):
                self._fleet.remove(upstream)
                continue
            self._fleet.set_weight(upstream, upstream.settings_weight)
            self._fleet.set_admin_state(upstream, AdminState.ACTIVE)
        for route, weights in self._splits.of_settings():
            self._splits.set(route, weights, None, by)
        if is_changed:
            self.changed()

    def live_changes(self) -> list[LiveChange | SplitChange]:
        """The differences from the settings."""
        return [*self._upstream_changes(), *self._splits.changes()]

    def _upstream_changes(self) -> list[LiveChange]:
        return [_difference(one) for one in self._fleet.upstreams() if _is_changed(one)]

    def exported(self, config: Exported) -> Exported:
        """`config` with its YAML changed to the present weights and added upstreams."""
        changes, splits = self._upstream_changes(), self._splits.changes()
        if not changes and not splits:
            return config
        tree = dict(config.settings)
        named = self._changed(tree, DEFAULT, changes)
        if tree.get("pools"):
            tree["pools"] = {name: dict(pool) for name, pool in tree["pools"].items()}
            for name, pool in tree["pools"].items():
                named |= self._changed(pool, name, changes)
        if splits:
            weights = {one.route: one.weights for one in splits}
            tree["routes"] = [
                {**route, "split": {**route["split"], "sides": weights[route["name"]]}}
                if route.get("name") in weights
                else route
                for route in tree["routes"]
            ]
        lines = [f"# not a setting: {words}\n" for one in changes if (words := _in_words(one, named))]
        return replace(config, yaml="".join(lines) + as_file(tree))

    def _changed(
        self, settings: dict[str, Any], pool: str, changes: Sequence[LiveChange]
    ) -> set[tuple[str, str]]:
        """Put the present weights and the added upstreams of a pool into its settings; returns the pool and
        the id of each upstream that these name."""
        weights = {one.upstream: one.weight for one in changes if one.pool == pool and one.weight is not None}
        specs = [parse_upstream(text) for text in settings["upstreams"]]
        settings["upstreams"] = [
            str(
                replace(spec, weight=weights[spec.id])
                if isinstance(spec, UpstreamSpec) and spec.id in weights
                else spec
            )
            for spec in specs
        ]
        added = [one for one in self._fleet.upstreams() if _is_added(one) and one.pool == pool]
        settings["upstreams"] += [str(_as_entry(one)) for one in added]
        return {(pool, spec.id) for spec in specs} | {(pool, one.id) for one in added}


def _nobody() -> None:
    pass


def _as_entry(upstream: UpstreamState) -> UpstreamSpec:
    """As it would be written in the settings."""
    return UpstreamSpec(
        upstream.host, upstream.port, upstream.weight, upstream.backup, bool(upstream.server_name)
    )


def _kept(upstream: UpstreamState) -> KeptUpstream:
    active, same = upstream.wanted is AdminState.ACTIVE, upstream.weight == upstream.settings_weight
    return KeptUpstream(
        pool=upstream.pool,
        id=upstream.id,
        added=str(_as_entry(upstream)) if _is_added(upstream) else "",
        admin_state=None if active else upstream.wanted.value,  # type: ignore[arg-type]  # one of the two
        weight=None if same else upstream.weight,
        by=upstream.changed_by,
        at=upstream.changed_at,
    )


def _is_changed(upstream: UpstreamState) -> bool:
    return (
        upstream.wanted is not AdminState.ACTIVE
        or upstream.weight != upstream.settings_weight
        or _is_added(upstream)
    )


def _is_added(upstream: UpstreamState) -> bool:
    """Whether an operator has added it for good."""
    return upstream.source == API and not upstream.expires_ns


def _difference(upstream: UpstreamState) -> LiveChange:
    active, same = upstream.wanted is AdminState.ACTIVE, upstream.weight == upstream.settings_weight
    return LiveChange(
        pool=upstream.pool,
        upstream=upstream.id,
        admin_state=None if active else upstream.wanted,
        weight=None if same else upstream.weight,
        added=_is_added(upstream),
        by=upstream.changed_by,
        at=moment(upstream.changed_at),
    )


def _in_words(change: LiveChange, named: set[tuple[str, str]]) -> str:
    """The part of the change that a settings file cannot express."""
    words = []
    if change.admin_state is not None:
        words.append(f"is {in_words(change.admin_state)}")
    if change.weight is not None and (change.pool, change.upstream) not in named:
        words.append(f"has the weight {change.weight}")
    return f"{change.upstream} {' and '.join(words)}" if words else ""
