"""The control channel's messages between supervisor and workers (L2), and their parts.

A message is a frozen value; on the wire, `type` holds its kind. A new message is added to a union at the end
of this file; mypy then reports the place that has to handle it. `runtime.channel` transports them. All are
JSON, except `Access`.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from balancer.spec.explained import Explanation
from balancer.spec.part import Decoder, Part, encode
from balancer.spec.tls import ChallengeSpec, TlsSpec, UpstreamTlsSpec
from balancer.spec.traced import TracedRequest
from balancer.spec.worker import Level, RouteSpec, WorkerSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from balancer.upstreams.traffic_history import SkipReason, Symptom

_NUL: Final = b"\0"


class Message(Part, frozen=True, tag_field="type"):
    """A complete message, as opposed to a part of one."""


# Parts of messages


class Rows(Part, frozen=True, kw_only=True):
    """The worker's rows in the stats segment; `routes` and `pools` are in the order of the spec. A route has
    one for each of its sides, or one if it has none."""

    worker: int
    listener: int
    tls_listener: int | None = None
    routes: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]


class MemberState(Part, frozen=True, kw_only=True):
    """The supervisor's state of one upstream. `row` is its identity: an upstream that is removed and added
    again gets a new row.

    `host` is an IP address, empty until its name has been resolved. `server_name`: whom it must prove to be,
    by TLS; "" for plain HTTP. `ramp_since_ns` is when its slow start
    began, on the monotonic clock, 0 if there is none.
    """

    id: str
    host: str
    port: int
    server_name: str
    weight: int
    row: int
    admin_state: AdminState
    leaves_by_itself: bool
    causes: frozenset[Cause]
    backup: bool
    ramp_since_ns: int
    max_inflight: int  # for all workers together, 0 = no cap
    on_probation: bool
    silent_since_ns: int  # on the monotonic clock, 0 unless it is known to answer nothing
    first_check: FirstCheck
    other_hosts: tuple[str, ...]  # other addresses of its name


class AttemptRecord(Part, frozen=True, kw_only=True):
    """The result of one attempt of a request."""

    upstream: str
    failure: str
    detail: str


class FailureRecord(Part, frozen=True, kw_only=True):
    """One error response made here, as shown by `/api/failures`. `time` is in seconds since the epoch. None
    means unknown, because there was no exchange yet."""

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
    """The upstreams of a pool as of `revision`. `starting`: none of them has passed a check yet.
    `checked_within_ns`: within this time active checks eject an upstream that has stopped answering, 0 = no
    active checks."""

    name: str
    revision: int
    starting: bool
    checked_within_ns: int = 0
    members: tuple[MemberState, ...]


class SplitUpdate(Message, frozen=True, kw_only=True, tag="split"):
    """The weights of a route's sides, by pool, as of `revision`."""

    route: str
    revision: int
    weights: dict[str, int]


class RoutesUpdate(Message, frozen=True, kw_only=True, tag="routes"):
    """Other routes for the requests that come from now on, with their rows as in `Rows`, and the weights and
    the state that they have now. A worker that lacks one of their pools keeps its own: it is about to be
    replaced."""

    routes: tuple[RouteSpec, ...]
    rows: tuple[tuple[int, ...], ...]
    splits: tuple[SplitUpdate, ...] = ()
    read_only: tuple["ReadOnly", ...] = ()


class Others(Message, frozen=True, kw_only=True, tag="others"):
    """The pages of all incarnations that are running, this one included. `predecessors` are those of them
    that served before it in its slot: what they still hold is taken from its shares."""

    pages: tuple[int, ...]
    predecessors: tuple[int, ...] = ()


class ReadOnly(Message, frozen=True, kw_only=True, tag="readonly"):
    """A route serves no changes until this time on the monotonic clock; 0: it does again."""

    route: str
    until_ns: int


class Watch(Message, frozen=True, kw_only=True, tag="watch"):
    """Explain requests like this until a time on the monotonic clock; 0: no more. Empty fields are anything:
    `path` is a prefix, `host` a name or `*.example.com`, `client` an address or a network."""

    until_ns: int
    path: str = ""
    host: str = ""
    method: str = ""
    client: str = ""
    route: str = ""


class TlsUpdate(Message, frozen=True, kw_only=True, tag="tls"):
    """Certificates have changed: `tls` replaces that of the spec, as of `revision`."""

    revision: int
    tls: TlsSpec


class Challenges(Message, frozen=True, kw_only=True, tag="challenges"):
    """What authorities look for from now on, instead of what they looked for before."""

    pending: tuple[ChallengeSpec, ...]


class UpstreamTlsUpdate(Message, frozen=True, kw_only=True, tag="upstream_tls"):
    """A pool speaks TLS with its upstreams otherwise, as of `revision`."""

    revision: int
    pool: str
    tls: UpstreamTlsSpec


class Heritage(Part, frozen=True, kw_only=True):
    """A worker that still runs, by its page, whose knowledge of upstreams is used; the one that starts gets
    `part` times its traffic."""

    page: int
    part: float


class Start(Message, frozen=True, kw_only=True, tag="start"):
    """The first message: the worker's spec, slot, page and rows. `pools` are in the order of the spec,
    `splits` are those whose weights are not those of the spec, `read_only` the routes that are it now,
    `challenges` what authorities look for now, `others` the pages and predecessors now. `heritage`: whose
    knowledge is used."""

    spec: WorkerSpec
    slot: int
    page: int
    rows: Rows
    pools: tuple[PoolUpdate, ...]
    splits: tuple[SplitUpdate, ...] = ()
    read_only: tuple[ReadOnly, ...] = ()
    challenges: tuple[ChallengeSpec, ...] = ()
    others: Others = Others(pages=())
    heritage: Heritage | None = None
    watch: Watch | None = None


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """The answer to `Eject`: all workers have it ejected by revision `until`, or, if 0, it is not ejected."""

    pool: str
    row: int
    until: int


class Adopt(Message, frozen=True, kw_only=True, tag="adopt"):
    """Accept on the socket of a slot that has no worker."""

    slot: int


class Release(Message, frozen=True, kw_only=True, tag="release"):
    """Stop accepting for that slot: it has a worker again."""

    slot: int


class Drain(Message, frozen=True, tag="drain"):
    """Finish within the drain time and exit; the listening sockets close too."""


class Retire(Message, frozen=True, kw_only=True, tag="retire"):
    """Accept no more clients, and exit when the last has left, after `within` seconds at most. A successor
    serves the listening sockets, but for the listeners in `ends` (0 is the plain one, 1 that for TLS): they
    close."""

    within: float
    ends: tuple[int, ...] = ()


# From a worker


class Ready(Message, frozen=True, tag="ready"):
    """The worker accepts clients."""


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """The worker's event loop is running."""


class Drained(Message, frozen=True, tag="drained"):
    """The last message: the worker has finished all exchanges."""


class Fatal(Message, frozen=True, kw_only=True, tag="fatal"):
    """The last message: the worker cannot start. `error` is one sentence."""

    error: str


class LogLine(Message, frozen=True, kw_only=True, tag="log", omit_defaults=True):
    """A line for the log. If `once` is set, it is a key that is logged only once for all workers."""

    level: Level
    message: str
    traceback: str | None = None
    once: str | None = None


class Access(Message, frozen=True, kw_only=True, tag="access"):
    """Lines of the access log, ready to be written.

    `packed` is the message as sent: the number of lines and the lines, each with a NUL before it in place of
    the newline after it. In no format do lines have control characters, so a message remains one line.
    """

    packed: bytes

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Access":
        """A message of `lines`, which have no newlines."""
        return cls(packed="\0".join(["", str(len(lines)), *lines]).encode())

    @property
    def count(self) -> int:
        """The number of lines."""
        return int(self.packed[1 : self._begin])

    def text(self) -> bytes:
        """The lines, each with its newline."""
        return self.packed[self._begin + 1 :].replace(_NUL, b"\n") + b"\n"

    @property
    def _begin(self) -> int:
        """The index of the first line's NUL."""
        return self.packed.index(_NUL, 1)


class Failures(Message, frozen=True, kw_only=True, tag="failures"):
    """Error responses made here, oldest first."""

    records: tuple[FailureRecord, ...]


class Traces(Message, frozen=True, kw_only=True, tag="traces"):
    """Requests that were traced, oldest first. `dropped`: how many spans are not among them, as there were
    too many."""

    records: tuple[TracedRequest, ...]
    dropped: int = 0


class Explained(Message, frozen=True, kw_only=True, tag="explained"):
    """Explanations of requests, oldest first. `left_out`: so many more would have been wanted, but there is a
    limit per second."""

    records: tuple[Explanation, ...] = ()
    left_out: int = 0


class Released(Message, frozen=True, kw_only=True, tag="released"):
    """Rows of the stats segment that the worker no longer writes to."""

    rows: tuple[int, ...]


class About(Message, frozen=True, kw_only=True):
    """Identifies an upstream: its row, and the `host` address at which this was seen."""

    pool: str
    id: str
    row: int
    host: str


class Suspected(About, frozen=True, kw_only=True):
    """`count` consecutive attempts showed `symptom`. `skip_reason`: why it is not ejected, as far as one
    worker can tell."""

    symptom: Symptom
    count: int
    on_probation: bool
    skip_reason: SkipReason | None


class Eject(Suspected, frozen=True, kw_only=True, tag="eject"):
    """An outlier was found, and ejected in this worker unless `skip_reason` is set."""


class Doubt(Suspected, frozen=True, kw_only=True, tag="doubt"):
    """Failures that one client may have caused. A check that fails now would confirm them."""


class Recovered(About, frozen=True, kw_only=True, tag="recovered"):
    """An upstream on probation has answered successfully."""


class CameBack(Message, frozen=True, kw_only=True, tag="loop"):
    """A request has looped back to this instance; `upstream` is the one that sent it, None if unknown."""

    pool: str
    upstream: str | None
    text: str


class Elsewhere(Message, frozen=True, kw_only=True, tag="elsewhere"):
    """An upstream does not answer at its address `host`, but at `other`, another address of its name."""

    row: int
    host: str
    other: str
    why: str


FromSupervisor: TypeAlias = (
    Start
    | PoolUpdate
    | SplitUpdate
    | RoutesUpdate
    | ReadOnly
    | Watch
    | Others
    | TlsUpdate
    | UpstreamTlsUpdate
    | Challenges
    | Verdict
    | Adopt
    | Release
    | Drain
    | Retire
)
FromWorker: TypeAlias = (
    Ready
    | Heartbeat
    | Drained
    | Fatal
    | LogLine
    | Access
    | Failures
    | Explained
    | Traces
    | Released
    | Eject
    | Doubt
    | Recovered
    | CameBack
    | Elsewhere
)

# Sends a message to the supervisor; returns False if it was dropped.
Tell: TypeAlias = Callable[[FromWorker], bool]


class _WorkersDecoder(Decoder[FromWorker]):
    def decode(self, data: bytes) -> FromWorker:
        return Access(packed=data) if data.startswith(_NUL) else super().decode(data)


def wire_form(message: Message) -> bytes:
    """The message as it is sent: one line, without newline."""
    return message.packed if isinstance(message, Access) else encode(message)


def from_supervisor() -> Decoder[FromSupervisor]:
    """The decoder for messages to a worker."""
    return Decoder(FromSupervisor)


def from_workers() -> Decoder[FromWorker]:
    """The decoder for messages from workers."""
    return _WorkersDecoder(FromWorker)
