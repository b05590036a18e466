"""The app replica's sessions: only in its memory, so that they last only with sticky sessions."""

from random import Random

COOKIE = "session"
MOST = 10_000  # the oldest are dropped above


class Sessions:
    """Sessions by their id, each with the number of its visits."""

    def __init__(self, rng: Random) -> None:
        self._random = rng
        self._visits: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._visits)

    def open(self) -> str:
        """A new session's id."""
        session = f"{self._random.getrandbits(128):032x}"
        self._visits[session] = 0
        if len(self._visits) > MOST:
            del self._visits[next(iter(self._visits))]
        return session

    def visit(self, session: str) -> int | None:
        """Count a visit; `None` if this replica does not know the session."""
        if session not in self._visits:
            return None
        self._visits[session] += 1
        return self._visits[session]
