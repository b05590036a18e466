"""Users with cookies, besides the tests: they ask in turn over a few connections; all answers are kept."""

import asyncio
import re
import threading
import time
from collections import deque
from random import Random
from typing import NamedTuple

from tests.e2e.stack import until

PATIENCE = 10.0  # seconds for one response
STOP_SECONDS = 30.0
_REPLICA = re.compile(rb"(?i)\r\nx-replica: *([^\r]+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_COOKIE = re.compile(rb"(?i)\r\nset-cookie: *(balancer_split=[^;\r]+)")


class Answer(NamedTuple):
    """One response. Times by the monotonic clock; `status` is 0 if there was none."""

    begun: float
    ended: float
    status: int
    replica: str


class User:
    """Comes without a cookie unless one is given, and keeps the one that the balancer sets."""

    __slots__ = ("answers", "cookie", "is_new")

    def __init__(self, cookie: bytes = b"") -> None:
        self.cookie = cookie
        self.is_new = not cookie
        self.answers: list[Answer] = []


def known_users(count: int, seed: int) -> list[User]:
    """Users that have the balancer's cookie from earlier. Their sides follow from `seed` and the balancer's
    secret, so that they are the same in each run."""
    rng = Random(seed)
    return [User(b"balancer_split=%016x" % rng.getrandbits(64)) for _ in range(count)]


class Users:
    """All users, in a thread. In each round every user asks once, and `new` more that have no cookie yet. A
    user asks on the connection that is free, so not always on the same one."""

    def __init__(self, port: int, known: list[User], new: int, connections: int) -> None:
        self.users = known
        self._port = port
        self._new = new
        self._connections = connections
        self._waiting: deque[User] = deque()
        self._stopped = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="users")

    def __enter__(self) -> "Users":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(STOP_SECONDS)

    def all_ask(self, since: float) -> dict[User, Answer]:
        """Wait until each user has asked since then; returns the first answers after it."""
        users = list(self.users)
        missing = set(users)

        def still_missing() -> set[User]:
            for user in [user for user in missing if user.answers and user.answers[-1].begun >= since]:
                missing.discard(user)
            return missing

        until("all users have asked again", still_missing, lambda left: not left)
        return {user: next(one for one in user.answers if one.begun >= since) for user in users}

    def answers(self) -> list[Answer]:
        """All so far, in the order in which they ended."""
        answers = [answer for user in list(self.users) for answer in list(user.answers)]
        return sorted(answers, key=lambda answer: answer.ended)

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask_in_turn() for _ in range(self._connections)))

    async def _ask_in_turn(self) -> None:
        """One connection; a broken one is opened again."""
        while not self._stopped:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                now = time.monotonic()
                self._next().answers.append(Answer(now, now, 0, ""))
                continue
            try:
                while not self._stopped and await _ask(self._next(), reader, writer):
                    pass
            finally:
                writer.close()

    def _next(self) -> User:
        if not self._waiting:
            self.users += [User() for _ in range(self._new)]
            self._waiting.extend(self.users)
        return self._waiting.popleft()


async def _ask(user: User, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; returns whether there was a response."""
    begun = time.monotonic()
    cookie = b"Cookie: %b\r\n" % user.cookie if user.cookie else b""
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(b"GET /items/7 HTTP/1.1\r\nHost: shop.test\r\n%b\r\n" % cookie)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
    except (OSError, EOFError, TimeoutError):
        user.answers.append(Answer(begun, time.monotonic(), 0, ""))
        return False
    if found := _COOKIE.search(head):
        user.cookie = found[1]
    replica = _REPLICA.search(head)
    name = replica[1].decode() if replica else ""
    user.answers.append(Answer(begun, time.monotonic(), int(head[9:12]), name))
    return True
