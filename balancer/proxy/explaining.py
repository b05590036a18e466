"""Which requests of a worker are explained, and the explanations until the supervisor gets them.

If nobody asks for any but failures, `on` is False, and a request costs no more than a look at it. In a second
only so many are explained that a worker under overload, or with a wide filter, does not notice.
"""

from random import Random
from typing import Final

from balancer.clock import Clock
from balancer.errors import ProtocolError
from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.messages import Explained, Watch
from balancer.proxy.account import FAILURE, RETRY, Account
from balancer.proxy.masking import masked_fields, masked_target
from balancer.proxy.matching import RouteReasons
from balancer.proxy.router import Route, Router
from balancer.proxy.watching import Watching
from balancer.spec.explained import Explanation

# Explanations per second and worker: of requests in trouble, and of those that somebody asks for. Each takes
# about half a millisecond.
PER_SECOND: Final = 20
SAMPLE: Final = "sample"
HEADER: Final = "header"
WATCH: Final = "watch"
_SECOND_NS: Final = 1_000_000_000


class Explaining:
    """`sample` is the share of requests that are explained, 0.0 to 1.0. `router` has the present routes.
    `left_out`: explanations that were wanted since the last `take`, but are not made."""

    __slots__ = ("_clock", "_random", "_reasons", "_records", "_sample", "_second",
                 "_used", "_watching", "left_out", "on", "router")  # fmt: skip

    def __init__(self, sample: float, router: Router, clock: Clock, rng: Random) -> None:
        self.router = router
        self._sample = sample
        self._clock = clock
        self._random = rng
        self._watching: Watching | None = None
        self._reasons: RouteReasons | None = None
        self._records: list[Explanation] = []
        self.left_out = 0
        self._second = -1
        self._used = {FAILURE: 0, WATCH: 0}
        self.on = False
        self._turn()

    def _turn(self) -> None:
        """Whether a look at each request is needed has changed."""
        self.on = self._sample > 0 or self._watching is not None

    def watch(self, watch: Watch) -> None:
        """Explain these from now on, instead of those before."""
        is_over = watch.until_ns <= self._clock.monotonic_ns()
        self._watching = None if is_over else Watching(watch)
        self._turn()

    def asked(self, head: RequestHead, peer: Peer, route: Route, now_ns: int) -> Account | None:
        """The account of a request that begins, if somebody wants it. Call it while it is `on`, and if the
        head asks for it."""
        why = self._why(head, peer, route, now_ns)
        if not why:
            return None
        account = self._begin(why, WATCH, True, head, peer, route, now_ns)
        if account is None:
            self.left_out += 1
        return account

    def troubled(self, head: RequestHead, peer: Peer, route: Route, now_ns: int) -> Account | None:
        """The account of a request that has had none, and is in trouble now."""
        return self._begin(RETRY, FAILURE, False, head, peer, route, now_ns)

    def _why(self, head: RequestHead, peer: Peer, route: Route, now_ns: int) -> str:
        if head.explain and peer.trusted:
            return HEADER
        watching = self._watching
        if watching is not None:
            if watching.until_ns <= now_ns:
                self._watching = None
                self._turn()
            elif _wants(watching, head, peer, route):
                return WATCH
        return SAMPLE if self._sample and self._random.random() < self._sample else ""

    def _begin(
        self, why: str, kind: str, is_whole: bool, head: RequestHead, peer: Peer, route: Route, now_ns: int
    ) -> Account | None:
        second = now_ns // _SECOND_NS
        if second != self._second:
            self._second = second
            self._used = {FAILURE: 0, WATCH: 0}
        if self._used[kind] >= PER_SECOND:
            return None
        self._used[kind] += 1
        reasons = self._reasons
        if reasons is None or reasons.router is not self.router:
            reasons = self._reasons = RouteReasons(self.router)
        account = Account(why, is_whole, reasons.taken(route, head, peer), masked_target(head.target))
        account.fields = masked_fields(head.forwarded_lines())
        account.client = peer.client_address(head)
        account.scheme = peer.client_scheme(head).decode("latin-1")
        return account

    def keep(self, record: Explanation) -> None:
        """The request is over."""
        self._records.append(record)

    def take(self) -> list[Explained]:
        """Messages with those since the last call, oldest first; one each, as they may be long."""
        if not self._records and not self.left_out:
            return []
        records, self._records = self._records, []
        left_out, self.left_out = self.left_out, 0
        messages = [Explained(records=(record,)) for record in records]
        return [*messages, Explained(left_out=left_out)] if left_out else messages


def _wants(watching: Watching, head: RequestHead, peer: Peer, route: Route) -> bool:
    try:
        return watching.wants(head, peer, route.name)
    except ProtocolError:
        return False
