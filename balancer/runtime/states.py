"""The supervisor's state of each pool and upstream (L7): plain data, changed only by the fleet's methods."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from balancer.admin.view import REGISTERED
from balancer.messages import MemberState, PoolUpdate
from balancer.spec.worker import PoolSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck, is_eligible

API = "api"  # the source of upstreams that the operator has added
ADDED = (API, REGISTERED)  # sources of what was added by the admin API


@dataclass(slots=True, eq=False)
class UpstreamState:
    """One upstream: `host` as in the settings, `address` its present IP address, "" while unknown.

    `source` is the discovery entry that found it, "" if it is in the settings, API if the operator has added
    it. `changes` counts state changes by new state and cause.
    """

    pool: str
    id: str
    host: str
    port: int
    weight: int
    row: int
    address: str
    source: str = ""
    server_name: str = ""  # whom it must prove to be, by TLS; "" for plain HTTP
    backup: bool = False  # used only if no other is eligible
    ramp_since_ns: int = 0  # when its slow start began, 0 if it has had none
    max_inflight: int = 0  # requests it may have from all workers together, 0 for no cap
    causes: frozenset[Cause] = frozenset()
    on_probation: bool = False  # its ejection as an outlier is over, and no request to it has succeeded yet
    wanted: AdminState = AdminState.ACTIVE  # as set by the operator
    announced: bool = False  # its check answered DRAIN_STATUS
    leads_back: str = ""  # if its name resolves to a listener of ours: the address, and why it is not used
    # Since when it has answered neither checks nor requests while others did, on the monotonic clock; 0 if it
    # is not known to be silent.
    silent_since_ns: int = 0
    first_check: FirstCheck = FirstCheck.DONE
    other_addresses: tuple[str, ...] = ()  # further addresses of its name
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: bool = False  # all workers have got it since it was added
    settings_weight: int = 0  # from the settings, or from discovery
    changed_by: str = ""  # the operator who has last changed it, "" if none has
    changed_at: float = 0.0  # seconds since the epoch
    expires_ns: int = 0  # when its registration ends, on the monotonic clock; 0 if it has none

    def __post_init__(self) -> None:
        self.settings_weight = self.weight

    @property
    def admin_state(self) -> AdminState:
        """The state set by the operator, or else announced by the app."""
        if self.wanted is AdminState.ACTIVE and self.announced:
            return AdminState.DRAINING
        return self.wanted

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it is draining only because its app has announced it."""
        return self.announced and self.wanted is AdminState.ACTIVE

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""
        return self.address != "" and self.weight > 0

    def is_eligible(self) -> bool:
        """Whether it may be picked without panic."""
        return self.is_reachable() and is_eligible(self.admin_state, self.causes, self.first_check)

    @property
    def unchecked(self) -> bool:
        """Whether checks are on, and none has passed or failed yet."""
        return self.first_check is not FirstCheck.DONE

    def for_workers(self) -> MemberState:
        """Its state in the form that is sent to workers."""
        return MemberState(
            id=self.id,
            host=self.address,
            port=self.port,
            server_name=self.server_name,
            weight=self.weight,
            row=self.row,
            admin_state=self.admin_state,
            leaves_by_itself=self.leaves_by_itself,
            causes=self.causes,
            backup=self.backup,
            ramp_since_ns=self.ramp_since_ns,
            max_inflight=self.max_inflight,
            on_probation=self.on_probation,
            silent_since_ns=self.silent_since_ns,
            first_check=self.first_check,
            other_hosts=self.other_addresses,
        )


class FleetWatcher(Protocol):
    """Gets changes of the set of upstreams."""

    def added(self, upstream: UpstreamState) -> None:
        """It is new."""

    def moved(self, upstream: UpstreamState) -> None:
        """It has another address."""

    def wanted(self, upstream: UpstreamState) -> None:
        """The admin state set for it has changed."""

    def removed(self, upstream: UpstreamState) -> None:
        """It was removed, for good: the same address found again is a new upstream."""


class Overloaded(NamedTuple):
    """Since when a pool is overloaded (seconds since the epoch), and the present rates, per second, of
    requests served, refused, and abandoned by their clients while waiting."""

    since: float
    served: float
    refused: float
    left: float


@dataclass(slots=True, eq=False)
class PoolState:
    """One upstream pool; `spec` is what workers build from."""

    spec: PoolSpec
    row: int
    is_checked: bool  # by active checks
    checked_within_ns: int = 0  # in this time they eject an upstream that has stopped answering
    has_passed: bool = False  # a check of one of its upstreams
    max_inflight: int = 0  # of each upstream
    upstreams: dict[str, UpstreamState] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # discovery source -> why it does not resolve
    panics: bool = False
    out: bool = False  # no upstream may be used
    on_backup: bool = False  # its backup upstreams are used, because no other is eligible
    overload: Overloaded | None = None
    ejections: Counter[str] = field(default_factory=Counter)  # by cause
    ejections_skipped: Counter[str] = field(default_factory=Counter)  # by reason

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.spec.name

    @property
    def is_starting(self) -> bool:
        """Whether no check has passed since the instance's start: its apps may not be up yet."""
        return self.is_checked and not self.has_passed

    def eligible(self) -> int:
        """How many upstreams may be picked without panic."""
        return sum(upstream.is_eligible() for upstream in self.upstreams.values())

    def update(self, revision: int) -> PoolUpdate:
        """The update for workers: its upstreams' states as of `revision`."""
        return PoolUpdate(
            name=self.name,
            revision=revision,
            starting=self.is_starting,
            checked_within_ns=self.checked_within_ns,
            members=tuple(upstream.for_workers() for upstream in self.upstreams.values()),
        )
