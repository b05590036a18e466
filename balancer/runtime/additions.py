"""Adds the upstreams that the admin API is asked to add (L7): for good, or apps for a time."""

from balancer.admin.view import REGISTERED, RefusedError
from balancer.config.address import is_unix
from balancer.config.upstream_spec import UpstreamSpec, parse_member
from balancer.discovery.addresses import member
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import API, UpstreamState

MOST_REGISTERED = 1000  # upstreams in one pool, so that one app's token cannot use up all room


def parsed(text: str) -> UpstreamSpec:
    """The upstream that `text`, an entry of UPSTREAMS, names. Raises RefusedError."""
    try:
        return parse_member(text)
    except ValueError as error:
        raise RefusedError(f"{text!r} {error}") from None


def add(fleet: Fleet, pool: str, spec: UpstreamSpec, source: str) -> UpstreamState:
    """Add one that is not there. Raises RefusedError."""
    if why := fleet.circles.why_not(spec.host, spec.port):
        raise RefusedError(f"{str(spec)!r} {why}")
    tls = fleet.pools[pool].spec.tls
    if not fleet.add(pool, member(spec, tls.server_name), source):
        raise RefusedError(f"there is no room for {spec.id}: the instance is at its limit of upstreams")
    return fleet.pools[pool].upstreams[spec.id]


def register(fleet: Fleet, pool: str, text: str, seconds: int, *, by_app: bool) -> tuple[str, bool]:
    """Add an upstream for `seconds`, or prolong its time; returns its id, and whether it is new, as it is
    with other options than before. `by_app`: by the token of the pool's apps. Raises RefusedError."""
    source = REGISTERED if by_app else API
    spec = parsed(text)
    present = fleet.pools[pool].upstreams
    found = present.get(spec.id)
    if by_app and is_unix(spec.host):
        raise RefusedError(f"{text!r} is a unix socket; an app registers its IP address and port")
    if found is not None and (not found.expires_ns or (by_app and found.source != source)):
        whose = "was added by an operator" if found.source == API else f"comes from {whose_is(found)}"
        raise RefusedError(f"{spec.id} {whose}, and stays without being registered")
    if found is not None and (found.settings_weight, found.backup, bool(found.server_name)) != (
        spec.weight,
        spec.backup,
        spec.tls,
    ):
        fleet.remove(found, "it registers with other options")
        found = None
    is_new = found is None
    if found is None:
        if by_app and sum(one.source == source for one in present.values()) >= MOST_REGISTERED:
            raise RefusedError(f"pool {pool} has {MOST_REGISTERED} registered upstreams; DELETE some")
        found = add(fleet, pool, spec, source)
    fleet.limit(found, seconds)
    return found.id, is_new


def whose_is(upstream: UpstreamState) -> str:
    """Where it comes from, for a message."""
    return upstream.source or "the settings"
