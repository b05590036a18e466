"""Sticky sessions of one pool: which upstream a request is pinned to, and the pin set in its response.

Runs between the request head and the pool's choice, and again before the response head is sent. A pin is a
token for an upstream: a hash, keyed by the secret, so workers, and instances with the same secret, agree
without communicating. Whatever can be precomputed is computed when the upstreams change.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from itertools import islice
from typing import Final

from balancer.http.cookies import is_cookie_line
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead
from balancer.sticky.diversion import Diversion
from balancer.sticky.pin_cookie import TOKEN_LENGTH, PinCookie
from balancer.telemetry.columns import POOL_STICKY, STICKY_RESULTS
from balancer.upstreams.state import accepts_pinned
from balancer.upstreams.upstream import Upstream

_HIT: Final = POOL_STICKY + STICKY_RESULTS.index("hit")
_NEW: Final = POOL_STICKY + STICKY_RESULTS.index("new")
_REPINNED: Final = POOL_STICKY + STICKY_RESULTS.index("repinned")
_KNOWN_LINES: Final = 512
_KNOWN_BYTES: Final = 512  # longer lines are read each time
_OVERFLOW: Final = POOL_STICKY + STICKY_RESULTS.index("overflow")
_INVALID: Final = POOL_STICKY + STICKY_RESULTS.index("invalid")
_REMEMBERED_GONE: Final = 1024  # tokens of removed upstreams: these are not forged
# scrypt's N, in blocks of 1 KiB: 32 KiB of memory and 0.1 ms of CPU, so that 1,000 upstreams take 0.1 s of a
# worker's start. Changing it invalidates all cookies.
_SLOW: Final = 32


def make_token(secret: bytes, pool: str, upstream: str) -> bytes:
    """The token of an upstream, valid as a cookie value.

    Without a secret, anyone who knows the upstream can compute it, and can try names and addresses until one
    yields the token in a cookie: each try should cost as much as we can afford per upstream.
    """
    message = f"{len(pool)}:{pool}:{upstream}".encode()
    if secret:
        digest = hmac.digest(secret, message, "sha256")
    else:
        digest = hashlib.scrypt(message, salt=b"balancer_sticky", n=_SLOW, r=8, p=1, dklen=32)
    return urlsafe_b64encode(digest)[:TOKEN_LENGTH]


class Affinity:
    """The pins of one pool. A head is examined once, however often its connection repeats it."""

    __slots__ = ("_accepting", "_cells", "_cookie", "_gone", "_known", "_marks", "_pool", "_secret",
                 "_tokens", "_upstreams", "diversion", "result")  # fmt: skip

    def __init__(
        self, pool: str, secret: bytes, cookie: PinCookie, cells: memoryview[int], diversion: Diversion
    ) -> None:
        """`cells` is the pool's row."""
        self.diversion = diversion
        self.result = -1  # of the last `answered`: its place among STICKY_RESULTS
        self._pool = pool
        self._secret = secret
        self._cookie = cookie
        self._cells = cells
        self._tokens: dict[Upstream, bytes] = {}
        self._marks: dict[Upstream, bytes] = {}  # what a response gets to pin its client
        self._upstreams: dict[bytes, Upstream] = {}
        self._accepting: frozenset[Upstream] = frozenset()
        self._gone: dict[bytes, None] = {}  # in order of removal
        self._known: dict[bytes, tuple[list[bytes], bytes]] = {}  # Cookie lines and what was read from them

    # --- on change

    def set_members(self, upstreams: Sequence[Upstream]) -> None:
        """Set the pool's upstreams; call `rebuild` afterwards."""
        before = self._tokens
        self._tokens = {
            one: before.get(one) or make_token(self._secret, self._pool, one.id) for one in upstreams
        }
        self._upstreams = {token: one for one, token in self._tokens.items()}
        self._marks = {one: self._cookie.mark(token) for one, token in self._tokens.items()}
        for token in before.values():
            if token not in self._upstreams:
                self._gone[token] = None
        for token in self._upstreams:
            self._gone.pop(token, None)
        for token in list(islice(self._gone, max(0, len(self._gone) - _REMEMBERED_GONE))):
            del self._gone[token]

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """States have changed. `candidates` may be picked; in panic they are ejected ones.

        An upstream on probation gets one request at a time, so it does not get its sessions.
        """
        keeping = [
            one
            for one in self._tokens
            if one.host
            and not one.on_probation
            and accepts_pinned(one.admin_state, one.causes, one.first_check)
        ]
        self._accepting = frozenset([*candidates, *keeping])
        self.diversion.rebuild(candidates)

    # --- for each request

    def pinned(self, head: RequestHead) -> Upstream | None:
        """The upstream that a request is pinned to, whatever its state. None if it has no valid pin.

        Afterwards the head is as the app gets it: without our part of its cookies.
        """
        if head.pin_reader is not self:
            self._examine(head)
        return self._upstreams.get(head.pin) if head.pin else None

    def accepts(self, upstream: Upstream) -> bool:
        """Whether an upstream accepts the requests pinned to it."""
        return upstream in self._accepting

    def answered(self, head: RequestHead, response: ResponseHead, served: Upstream) -> ResponseHead:
        """`served` has answered a request that went through `pinned`. Returns the response for the client,
        which is pinned by it if needed."""
        token = head.pin
        pinned = self._upstreams.get(token) if token else None
        if pinned is served:
            self.result = _HIT - POOL_STICKY
            self._cells[_HIT] += 1
            given = self._give(response, served) if self._cookie.follows_app else None
            return given or response
        if pinned is not None:
            result = _OVERFLOW if pinned in self._accepting else _REPINNED
        elif not token:
            result = _NEW
        else:
            result = _REPINNED if token in self._gone else _INVALID
        self.result = result - POOL_STICKY
        due = result != _OVERFLOW or self._cookie.follows_app
        given = self._give(response, served) if due else None
        if given is not None or result != _NEW:
            self._cells[result] += 1
        return given or response

    def _give(self, response: ResponseHead, served: Upstream) -> ResponseHead | None:
        mark = self._marks.get(served)
        return None if mark is None else self._cookie.give(response, mark)  # None: removed meanwhile

    def _examine(self, head: RequestHead) -> None:
        """Find the pin of a new head, and remove our part from the lines to forward."""
        is_first = head.pin_reader is None
        head.pin_reader = self
        head.pin = b""
        tokens: list[bytes] = []
        changes: dict[bytes, bytes] = {}
        for line in self._lines(head):
            found, forwarded = self._read(line)
            if found:
                tokens += found
                changes[line] = forwarded
        if not tokens:
            return
        if not is_first:  # another pool has removed its part from the same lines
            lines = filter(is_cookie_line, head.forwarded_lines())
            changes = {line: self._read(line)[1] for line in lines}
        head.replace_lines(changes)
        # A browser may have two of one name, for example for two paths: prefer a valid one to the first.
        head.pin = next((token for token in tokens if token in self._upstreams), tokens[0])

    def _read(self, line: bytes) -> tuple[list[bytes], bytes]:
        """As `PinCookie.read`: a client sends the same line with each request."""
        known = self._known.get(line)
        if known is None:
            known = self._cookie.read(line)
            if len(line) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_LINES:
                    self._known.clear()
                self._known[line] = known
        return known

    def _lines(self, head: RequestHead) -> list[bytes]:
        """The Cookie lines that may contain our pin, as the client sent them."""
        search = self._cookie.search
        block = head.block()
        if not block:  # then it is new, and its lines are unchanged
            return [line for line in head.forwarded_lines() if search in line and is_cookie_line(line)]
        lines = []
        at = block.find(search)
        while at >= 0:
            end = block.find(b"\r\n", at)
            start = block.rfind(b"\n", 0, at) + 1
            line = block[start:end]
            if is_cookie_line(line):
                lines.append(line)
            at = block.find(search, end)
        return lines
