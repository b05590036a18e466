"""What an operator wants of upstreams while the instance runs (L6): live changes, over what the settings say.

They last as long as the instance; an upstream that discovery found takes its own with it when it goes.
"""

from dataclasses import replace

from balancer.admin.view import Change, LiveChange
from balancer.config.export import Exported, as_file
from balancer.config.upstream_spec import parse_upstream
from balancer.runtime.fleet import Fleet, UpstreamState
from balancer.upstreams.state import AdminState


class Operator:
    """Changes by the operator, and what they are at this moment."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def change(self, pool: str, upstream: str, change: Change) -> None:
        """Through the fleet's doors. Raises KeyError where there is no such upstream any more."""
        found = self._fleet.pools[pool].upstreams[upstream]
        if change.weight is not None:
            self._fleet.set_weight(found, change.weight)
        if change.admin_state is not None:
            self._fleet.set_admin_state(found, AdminState(change.admin_state))

    def live_changes(self) -> list[LiveChange]:
        """What differs from the settings."""
        return [_difference(one) for one in self._fleet.upstreams() if _is_changed(one)]

    def exported(self, config: Exported) -> Exported:
        """`config` with its YAML as a settings file that brings the present weights."""
        changes = self.live_changes()
        if not changes:
            return config
        weights = {one.upstream: one.weight for one in changes if one.weight is not None}
        tree = dict(config.settings)
        specs = [parse_upstream(text) for text in tree["upstreams"]]
        tree["upstreams"] = [
            str(replace(spec, weight=weights[spec.id]) if spec.id in weights else spec) for spec in specs
        ]
        named = {spec.id for spec in specs}
        lines = [f"# not a setting: {words}\n" for one in changes if (words := _in_words(one, named))]
        return replace(config, yaml="".join(lines) + as_file(tree))


def _is_changed(upstream: UpstreamState) -> bool:
    return upstream.wanted is not AdminState.ACTIVE or upstream.weight != upstream.settings_weight


def _difference(upstream: UpstreamState) -> LiveChange:
    active, same = upstream.wanted is AdminState.ACTIVE, upstream.weight == upstream.settings_weight
    return LiveChange(
        pool=upstream.pool,
        upstream=upstream.id,
        admin_state=None if active else upstream.wanted,
        weight=None if same else upstream.weight,
    )


def _in_words(change: LiveChange, named: set[str]) -> str:
    """What of it a settings file cannot say."""
    words = []
    if change.admin_state is not None:
        words.append(f"is {change.admin_state}")
    if change.weight is not None and change.upstream not in named:
        words.append(f"has the weight {change.weight}")
    return f"{change.upstream} {' and '.join(words)}" if words else ""
