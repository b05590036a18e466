"""What supervisor and workers tell each other (L2): the messages of the control channel, and their parts.

A message is a frozen value, with its kind on the wire in `type`. A new one is added to a union at the end;
mypy then names the place that has to handle it. `runtime.channel` carries them.
"""

from collections.abc import Callable
from typing import TypeAlias

from balancer.spec.part import Decoder, Part
from balancer.spec.worker import Level, WorkerSpec
from balancer.telemetry.access_log import PlainRecord
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from balancer.upstreams.traffic_history import SkipReason, Symptom


class Message(Part, frozen=True, tag_field="type"):
    """What can be sent by itself."""


# Parts of messages


class Rows(Part, frozen=True, kw_only=True):
    """Where a worker counts in the stats segment; `routes` and `pools` are in the order of the spec."""

    worker: int
    listener: int
    routes: tuple[int, ...]
    pools: tuple[int, ...]


class MemberState(Part, frozen=True, kw_only=True):
    """One upstream as the supervisor has it. `row` is its identity: one that left and came back has another.

    `host` is an IP address, empty while its name has not been resolved. `ramp_since_ns` is when its slow
    start began, on the monotonic clock, 0 where it has none.
    """

    id: str
    host: str
    port: int
    weight: int
    row: int
    admin_state: AdminState
    leaves_by_itself: bool
    causes: frozenset[Cause]
    backup: bool
    ramp_since_ns: int
    max_inflight: int  # of all workers together, 0 for none
    on_probation: bool
    silent_since_ns: int  # on the monotonic clock, 0 where it is not known to answer nobody
    first_check: FirstCheck
    other_hosts: tuple[str, ...]  # other addresses of its name


class AttemptRecord(Part, frozen=True, kw_only=True):
    """What one attempt of a request came to."""

    upstream: str
    failure: str
    detail: str


class FailureRecord(Part, frozen=True, kw_only=True):
    """One error made here, as `/api/failures` has it. `time` is in seconds since the epoch; None is what is
    not known, where nothing became an exchange."""

    time: float
    status: int
    reason: str
    source: str
    detail: str
    client: str
    method: str | None
    target: str | None
    host: str | None
    route: str | None
    pool: str | None
    request_id: str | None
    attempts: tuple[AttemptRecord, ...]


# From the supervisor


class PoolUpdate(Message, frozen=True, kw_only=True, tag="pool"):
    """The upstreams that a pool has, by `revision`. `starting`: no check of any of them has passed yet."""

    name: str
    revision: int
    starting: bool
    members: tuple[MemberState, ...]


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """The first message: what the worker is, and its place. `pools` are in the order of the spec."""

    spec: WorkerSpec
    slot: int
    page: int
    rows: Rows
    pools: tuple[PoolUpdate, ...]


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """The answer to `Eject`: by revision `until` it is ejected for all, or, where that is 0, for nobody."""

    pool: str
    row: int
    until: int


class Adopt(Message, frozen=True, kw_only=True, tag="adopt"):
    """Serve the socket of a slot that has no worker."""

    slot: int


class Release(Message, frozen=True, kw_only=True, tag="release"):
    """That slot has a worker again."""

    slot: int


class Drain(Message, frozen=True, tag="drain"):
    """Finish and exit; the listening sockets end with you."""


class Retire(Message, frozen=True, tag="retire"):
    """Finish and exit: a successor serves your socket."""


# From a worker


class Ready(Message, frozen=True, tag="ready"):
    """Clients are accepted."""


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """The loop turns."""


class Drained(Message, frozen=True, tag="drained"):
    """The last words: all is done."""


class Fatal(Message, frozen=True, kw_only=True, tag="fatal"):
    """The last words: it cannot start. One sentence."""

    error: str


class LogLine(Message, frozen=True, kw_only=True, tag="log", omit_defaults=True):
    """A line for the log. What has a key in `once` all workers together say once."""

    level: Level
    message: str
    traceback: str | None = None
    once: str | None = None


class Access(Message, frozen=True, kw_only=True, tag="access"):
    """Records of the access log."""

    records: tuple[PlainRecord, ...]


class Failures(Message, frozen=True, kw_only=True, tag="failures"):
    """Errors made here, oldest first."""

    records: tuple[FailureRecord, ...]


class Released(Message, frozen=True, kw_only=True, tag="released"):
    """Rows of the stats segment that are written to no more."""

    rows: tuple[int, ...]


class About(Message, frozen=True, kw_only=True):
    """Which upstream: by its row, where it was seen."""

    pool: str
    id: str
    row: int
    host: str


class Suspected(About, frozen=True, kw_only=True):
    """`count` attempts in a row showed `symptom`. `skip_reason`: why it stays all the same, as far as one
    worker can tell."""

    symptom: Symptom
    count: int
    on_probation: bool
    skip_reason: SkipReason | None


class Eject(Suspected, frozen=True, kw_only=True, tag="eject"):
    """An outlier was found, and ejected here unless it is `skip_reason`."""


class Doubt(Suspected, frozen=True, kw_only=True, tag="doubt"):
    """Failures that may all be a client's doing: a check that fails now would prove them."""


class Recovered(About, frozen=True, kw_only=True, tag="recovered"):
    """One on probation has answered well."""


class CameBack(Message, frozen=True, kw_only=True, tag="loop"):
    """A request has come back to this instance; by which upstream, where that is known."""

    pool: str
    upstream: str | None
    text: str


class Elsewhere(Message, frozen=True, kw_only=True, tag="elsewhere"):
    """An upstream does not answer at its address, `host`, but at `other`, which its name has too."""

    row: int
    host: str
    other: str
    why: str


FromSupervisor: TypeAlias = Start | PoolUpdate | Verdict | Adopt | Release | Drain | Retire
FromWorker: TypeAlias = (
    Ready
    | Heartbeat
    | Drained
    | Fatal
    | LogLine
    | Access
    | Failures
    | Released
    | Eject
    | Doubt
    | Recovered
    | CameBack
    | Elsewhere
)

# Sends a message to the supervisor; False where it was dropped.
Tell: TypeAlias = Callable[[FromWorker], bool]


def from_supervisor() -> Decoder[FromSupervisor]:
    """What a worker reads its messages with."""
    return Decoder(FromSupervisor)


def from_workers() -> Decoder[FromWorker]:
    """What the supervisor reads its workers' messages with."""
    return Decoder(FromWorker)
