"""What the supervisor holds of each pool and upstream (L7): plain state, changed by the fleet's doors."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from balancer.messages import MemberState, PoolUpdate
from balancer.spec.worker import PoolSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck, is_eligible

API = "api"  # the source of upstreams that the operator has added


@dataclass(slots=True, eq=False)
class UpstreamState:
    """One upstream: `host` as the settings have it, `address` the IP address it has now, "" while unknown.

    `source` is the discovery entry that found it, "" for one of the settings' own, API where the operator
    has added it. `changes` counts what happened to it, by what it became and why. Changed by the fleet's
    doors only.
    """

    pool: str
    id: str
    host: str
    port: int
    weight: int
    row: int
    address: str
    source: str = ""
    backup: bool = False  # used only where no other is eligible
    ramp_since_ns: int = 0  # when its slow start began, 0 where it has had none
    max_inflight: int = 0  # requests it may have from all workers together, 0 for no cap
    causes: frozenset[Cause] = frozenset()
    on_probation: bool = False  # was an outlier, its time is over, and no request to it has succeeded yet
    wanted: AdminState = AdminState.ACTIVE  # by the operator
    announced: bool = False  # its check answered DRAIN_STATUS
    leads_back: str = ""  # where its name leads instead of to an address, as that is one of our own; and why
    # Since when it has answered neither checks nor requests while others did, on the monotonic clock; 0 where
    # it is not known to be silent.
    silent_since_ns: int = 0
    first_check: FirstCheck = FirstCheck.DONE
    other_addresses: tuple[str, ...] = ()  # that its name has besides
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: bool = False  # all workers have been told of it since it was added
    settings_weight: int = 0  # as the settings, or discovery, have it

    def __post_init__(self) -> None:
        self.settings_weight = self.weight

    @property
    def admin_state(self) -> AdminState:
        """What is wanted of it, by the operator or else by the app itself."""
        if self.wanted is AdminState.ACTIVE and self.announced:
            return AdminState.DRAINING
        return self.wanted

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it drains because its app said so, and for no other reason."""
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
        """As workers are told of it."""
        return MemberState(
            id=self.id,
            host=self.address,
            port=self.port,
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
    """Who wants to know which upstreams there are."""

    def added(self, upstream: UpstreamState) -> None:
        """There is a new one."""

    def moved(self, upstream: UpstreamState) -> None:
        """It has another address."""

    def wanted(self, upstream: UpstreamState) -> None:
        """The operator wants something else of it."""

    def removed(self, upstream: UpstreamState) -> None:
        """It is gone, and never comes back: the same address found again is a new one."""


class Overloaded(NamedTuple):
    """Since when a pool is overloaded (seconds since the epoch), and how many requests per second are served,
    refused, and left by their clients while they wait, just now."""

    since: float
    served: float
    refused: float
    left: float


@dataclass(slots=True, eq=False)
class PoolState:
    """One upstream pool; `spec` is what workers make of it."""

    spec: PoolSpec
    row: int
    is_checked: bool  # by active checks
    has_passed: bool = False  # a check of one of its upstreams
    max_inflight: int = 0  # of each upstream
    upstreams: dict[str, UpstreamState] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # discovery source -> why it does not resolve
    panics: bool = False
    out: bool = False  # nobody may be used
    on_backup: bool = False  # its backup upstreams are used, as no other is eligible
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
        """What workers are told of its upstreams as they are by `revision`."""
        return PoolUpdate(
            name=self.name,
            revision=revision,
            starting=self.is_starting,
            members=tuple(upstream.for_workers() for upstream in self.upstreams.values()),
        )
