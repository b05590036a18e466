"""What is kept of an explained request (L1): which way it took, and why. Workers make it, `/api/explain`
shows it.

Times are in ms since the request began, durations in ms; None means not known, or that it did not happen. No
value of a query, a cookie or a header that may hold a secret is in here (`proxy/masking.py`).
"""

from balancer.spec.part import Part


class EarlierRoute(Part, frozen=True, kw_only=True):
    """A route before the one that matched, and which of its conditions were not met."""

    name: str
    unmet: tuple[str, ...]


class RouteTaken(Part, frozen=True, kw_only=True):
    """The route: its position, from 1, 0 if it is not among the present ones; its conditions in words; those
    before it, of which `left_out` are not listed."""

    name: str
    number: int
    conditions: tuple[str, ...]
    earlier: tuple[EarlierRoute, ...]
    left_out: int
    note: str


class SplitTaken(Part, frozen=True, kw_only=True):
    """Which side of a split route, by which key; `weights` by pool."""

    pool: str
    key: str
    weights: dict[str, int]
    note: str


class PinTaken(Part, frozen=True, kw_only=True):
    """What sticky sessions did. `result` is as in the access log: `hit`, `new` (the client has no pin),
    `overflow` (its upstream had no slot), `repinned` (its upstream does not serve), `invalid` (the pin names
    no upstream). `upstream`: to which the client was pinned."""

    result: str
    upstream: str | None
    text: str


class CandidateSeen(Part, frozen=True, kw_only=True):
    """An upstream among which was chosen, before the choice. `inflight` is of the worker that chose,
    `elsewhere` of the others, None if the policy does not look at it. `limit`: the most it may have from this
    worker, 0 for none."""

    upstream: str
    weight: int
    effective_weight: float
    inflight: int
    elsewhere: int | None
    limit: int
    state: str  # free, full, tried


class PassedOver(Part, frozen=True, kw_only=True):
    """An upstream that was no candidate, and why."""

    upstream: str
    why: str
    inflight: int


class ChoiceSeen(Part, frozen=True, kw_only=True):
    """One choice: `upstream` is what was chosen, None if there was none to choose. `by`: `policy`, `pin`,
    `backup`, `probation`, or "" if there was none. `waiting`: requests in the queue of this worker. At most
    some candidates and others are listed, `left_out` are not. `note`: for example that these are the
    loads at the end, as nobody had asked before."""

    at: float
    upstream: str | None
    by: str
    policy: str
    panic: bool
    waiting: int
    candidates: tuple[CandidateSeen, ...]
    passed_over: tuple[PassedOver, ...]
    left_out: int
    note: str


class WaitSeen(Part, frozen=True, kw_only=True):
    """A wait: in the `queue` for a slot, or for a connection (`dial`). `result` is what ended it."""

    what: str
    at: float
    duration: float | None
    upstream: str | None
    result: str


class AttemptSeen(Part, frozen=True, kw_only=True):
    """One attempt. `at`: when its upstream was chosen; `sent`: when the request was written; `first_byte`:
    when the response began; `ended`: when it was over. `reused`: over an idle connection. `result`: a status,
    or the reason of a failure."""

    upstream: str
    at: float | None
    sent: float | None
    reused: bool | None
    first_byte: float | None
    ended: float | None
    result: str
    detail: str


class Cut(Part, frozen=True, kw_only=True):
    """Why the balancer itself answered, or broke the response off. `phase`: what the request was waiting for;
    `limit`: the setting that says how long or how many, "" for none."""

    reason: str
    source: str
    detail: str
    phase: str
    limit: str


class StepSeen(Part, frozen=True, kw_only=True):
    """One sentence of the story."""

    at: float
    kind: str
    text: str


class Explanation(Part, frozen=True, kw_only=True):
    """One request. `why` it is kept: `failure`, `retry`, `sample`, `header`, `watch`. `began` is ISO 8601 in
    UTC. `status` is 499 if the client left. `fields` are header fields of the request, masked.
    `not_again`: why it was not sent once more after its last attempt, "" if there was no need. `trace_id` is
    None if traces are off. `notes`: what is not known, and why."""

    request_id: str
    why: str
    began: str
    client: str
    scheme: str
    method: str
    target: str
    host: str
    fields: tuple[tuple[str, str], ...]
    status: int
    duration: float
    request_bytes: int
    response_bytes: int
    upstream: str | None
    pool: str | None
    route: RouteTaken
    split: SplitTaken | None
    pin: PinTaken | None
    choices: tuple[ChoiceSeen, ...]
    waits: tuple[WaitSeen, ...]
    attempts: tuple[AttemptSeen, ...]
    not_again: str
    cut: Cut | None
    trace_id: str | None
    story: tuple[StepSeen, ...]
    notes: tuple[str, ...]
