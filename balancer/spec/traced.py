"""What workers tell the supervisor of requests that are traced (L1): enough to make their spans of."""

from balancer.spec.part import Part


class TracedAttempt(Part, frozen=True, kw_only=True, array_like=True):
    """One attempt of a request that is traced; `span` is its id. It began, was sent (-1 if it never was) and
    ended so many ns after the request began; `first_byte_ns` passed between its sending and the response's
    head, -1 if there was none. `status` is that of its response, 0 for none; `failure` is a
    reason, "" for none. `host` is an IP address or a unix socket."""

    span: str
    upstream: str
    host: str
    port: int
    scheme: str
    reused: bool
    began_ns: int
    sent_ns: int
    first_byte_ns: int
    ended_ns: int
    status: int
    failure: str


class TracedRequest(Part, frozen=True, kw_only=True, array_like=True):
    """A request that is traced, with its attempts. Ids are in hex digits; `parent` is "" if the trace begins
    here, `state` the client's `tracestate`. `began_ns` is in ns since the epoch. `queue_ns`: how long
    it waited for slots, -1 if it did not. `reason` as in the access log, "" for none."""

    trace: str
    span: str
    parent: str
    flags: int
    state: str
    began_ns: int
    duration_ns: int
    queue_ns: int
    method: str
    target: str
    scheme: str
    minor: int
    host: str
    agent: str
    client: str
    peer: str
    status: int
    reason: str
    route: str
    pool: str
    request_id: str
    request_bytes: int
    response_bytes: int
    attempts: tuple[TracedAttempt, ...]
