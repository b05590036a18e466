"""One check of one upstream (L4): a GET over a kept connection, by aiohttp's client."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from aiohttp.typedefs import StrOrURL

from balancer import __version__
from balancer.connections.last_words import is_break
from balancer.errors import LOOP_DETECTED
from balancer.health.faults import fault_of, not_connected
from balancer.health.judging import judge
from balancer.health.result import Reply, Result
from balancer.health.second_look import look_again, render_check
from balancer.health.settings import CheckSettings

# Every so many checks one starts on a fresh connection, so that a replica that serves its old connections
# only is noticed. The old one is closed before: where no new one can be had, the checks after it fail too.
CHECKS_PER_CONNECTION = 10
_HEAD_LIMIT = 64 * 1024  # bytes of a line: an app whose requests pass must not fail for its cookies
BODY_LIMIT = 64 * 1024  # bytes of a body that are read; where there are more, the connection is closed
_WITHOUT_BODY = (101, 204, 304)  # their head ends them

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # who asks has a deadline, and cancels


class Probe(Protocol):
    """The checks of one upstream, one at a time."""

    async def check(self, address: str, port: int) -> Reply:
        """Make one check; cancelling it ends it at once. Never raises but for a bug."""

    async def close(self) -> None:
        """Close its connection."""


OpenProbe: TypeAlias = Callable[[str, CheckSettings], Probe]


class _Connector(aiohttp.TCPConnector):
    """aiohttp's, which also knows how the last connection that it gave out has ended: to aiohttp any end is
    that of a response without a length."""

    _ended: "asyncio.Future[None] | None" = None

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        ended = protocol.closed if protocol is not None else None
        if ended is not None and ended is not self._ended:
            ended.add_done_callback(asyncio.Future.exception)  # else asyncio would log that nobody has asked
        self._ended = ended
        return connection

    @property
    def broke_off(self) -> bool:
        """Whether that connection has ended by something else than a FIN."""
        ended = self._ended
        error = ended.exception() if ended is not None and ended.done() else None
        return error is not None and is_break(error.__cause__)


class HttpProbe:
    """Checks one upstream by HTTP, on a connection of its own.

    A response must be complete to pass, up to BODY_LIMIT; one that aiohttp does not take passes if the proxy
    would take it. Redirects are not followed, cookies not kept, and bodies not decoded. A kept connection
    that the upstream closes just as it is used is no failure: aiohttp asks once more, on a fresh one.
    """

    __slots__ = (
        "_checks_left",
        "_connector",
        "_headers",
        "_inexact",
        "_keepalive",
        "_resolver",
        "_session",
        "_settings",
        "_url",
        "_via",
        "_where",
    )

    def __init__(self, name: str, settings: CheckSettings, resolver: AbstractResolver, via: str) -> None:
        self._settings = settings
        self._via = via.encode()
        self._resolver = resolver
        # Host is the upstream's name, as in the settings: an address would not get far with virtual hosts.
        ours = {"Host": name, "User-Agent": f"balancer-check/{__version__}", "Accept": "*/*"}
        if via:
            ours["Via"] = f"1.1 {via}"
        theirs = {header.lower() for header, _ in settings.headers}
        self._headers = [one for one in ours.items() if one[0].lower() not in theirs] + list(settings.headers)
        # Longer than a connection lives: else aiohttp would sweep, with a timer for each upstream.
        self._keepalive = 2 * CHECKS_PER_CONNECTION * (settings.interval + settings.timeout)
        self._session: aiohttp.ClientSession | None = None
        self._connector: _Connector | None = None  # the session's
        self._checks_left = 0  # on the present connection
        self._where: tuple[str, int] = ("", 0)
        self._inexact = ""  # the target, where it answers in a way that aiohttp does not take
        self._url: StrOrURL = ""  # a string, until aiohttp has parsed it

    async def check(self, address: str, port: int) -> Reply:
        """Make one check of what listens on `port` of the IP address `address`."""
        if (address, port) != self._where:
            await self.close()
            self._where = (address, port)
            self._inexact = ""
            host = f"[{address}]" if ":" in address else address
            self._url = f"http://{host}:{port}{self._settings.path}"
        elif self._checks_left == 0:
            await self.close()
        if self._inexact:
            return await self._look_again(None)
        if self._session is None:
            self._session = self._open_session()
            self._checks_left = CHECKS_PER_CONNECTION
        self._checks_left -= 1
        try:
            response = await self._session.get(self._url, allow_redirects=False)
            self._url = response.url
            try:
                body = await self._body_of(response)
            finally:
                if not response.closed:  # it is, and its connection is kept, once all of it has been read
                    response.close()
        except (aiohttp.ClientError, OSError) as error:
            reply = fault_of(error, f"{address}:{port}")
            if not isinstance(error, aiohttp.ClientResponseError):
                return reply
            # Known also if this is cancelled: the next check shall have all its time for it.
            self._inexact = error.request_info.url.raw_path_qs
            return await self._look_again(reply)
        if self._was_cut(response, len(body)):
            return Reply(Result.CLOSED, 0, "its response broke off")
        if response.status == LOOP_DETECTED.status and self._via and self._via in body:
            return Reply(Result.LOOP, response.status, f"{response.status} on {self._settings.shown_path}")
        return judge(self._settings, response.status, body)

    async def close(self) -> None:
        """Close its connection."""
        session, self._session, self._connector = self._session, None, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        # A session each: only so can the connection of one upstream be closed. It costs 6 KiB and 23 µs.
        self._connector = _Connector(
            limit=0, keepalive_timeout=self._keepalive, use_dns_cache=False, resolver=self._resolver
        )
        return aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            skip_auto_headers=("Accept-Encoding",),
            auto_decompress=False,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
            timeout=_NO_TIMEOUT,
        )

    async def _look_again(self, first: Reply | None) -> Reply:
        """aiohttp takes what this upstream sends for no response: it is one if the proxy would take it.
        `first` is what was said of it just now."""
        await self.close()
        address, port = self._where
        try:
            request = render_check(self._inexact, self._headers)
            seen = await look_again(address, port, request, BODY_LIMIT)
        except OSError as error:
            return not_connected(error, f"{address}:{port}")
        if isinstance(seen, Reply):
            if first is not None or seen.result is Result.MALFORMED:
                self._inexact = ""
            return first or seen
        return judge(self._settings, *seen)

    def _was_cut(self, response: aiohttp.ClientResponse, size: int) -> bool:
        """Whether the end of a body that was read, with `size` bytes, is only that of a broken connection."""
        headers = response.headers
        if "Content-Length" in headers or "Transfer-Encoding" in headers or response.status in _WITHOUT_BODY:
            return False
        return size < BODY_LIMIT and self._connector is not None and self._connector.broke_off

    async def _body_of(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, or its start where it is larger than BODY_LIMIT; b"" where nobody asks for it."""
        size = response.content_length or 0
        if response.status < 200 or (not self._settings.body and size > BODY_LIMIT):
            return b""
        chunks: list[bytes] = []
        left = BODY_LIMIT
        while left > 0 and (chunk := await response.content.read(left)):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)


class Probes:
    """Opens the probes of one instance, in the running event loop. `via` is the name that Via tells, "" where
    there is to be none."""

    def __init__(self, via: str = "") -> None:
        self._via = via
        # Shared, and never asked: upstreams are given by address. aiohttp would make one per connector.
        self._resolver = aiohttp.ThreadedResolver(asyncio.get_running_loop())

    def __call__(self, name: str, settings: CheckSettings) -> HttpProbe:
        return HttpProbe(name, settings, self._resolver, self._via)
