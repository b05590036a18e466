"""Decides when changed files are read again (L1), and when it is reported that they cannot be used.

Pure: stamps and time come with the calls. Programs that renew a certificate write its file and that of the
key one after the other, so for a while they do not fit, or one of them is half written. That is reported only
if it stays so.
"""

from collections.abc import Mapping

from balancer.config.file_stamps import Stamp

PATIENCE = 3.0  # seconds from the first bad reading; `cp` of two files takes less


class FileWatch:
    """The files that are read together: a pair, or the authorities."""

    def __init__(self, paths: tuple[str, ...], stamps: Mapping[str, Stamp]) -> None:
        """`stamps` are from before the files were last read."""
        self.paths = paths
        self.problem = ""  # reported, and not over
        self._read_at = self._of(stamps)
        self._waiting: tuple[float, str] | None = None  # since when they are bad, and why: not reported yet

    def has_changed(self, stamps: Mapping[str, Stamp]) -> bool:
        """Whether to read them now; the next answer is about changes after these stamps."""
        found = self._of(stamps)
        if found == self._read_at:
            return False
        self._read_at = found
        return True

    def not_read(self) -> None:
        """They could not be looked at, for a reason that is not theirs: they count as changed."""
        self._read_at = None

    @property
    def is_good(self) -> bool:
        """Whether they could be used when they were last read."""
        return not self.problem and self._waiting is None

    def good(self) -> bool:
        """They can be used. Returns whether a reported problem is over."""
        was, self.problem, self._waiting = self.problem, "", None
        return bool(was)

    def bad(self, why: str, now: float) -> None:
        """They cannot be used; `now` is in seconds on a monotonic clock."""
        since = now if self._waiting is None else self._waiting[0]
        self._waiting = (since, why)

    def complaint(self, now: float) -> str:
        """Why they cannot be used, once per change and after PATIENCE; else ""."""
        if self._waiting is None or now - self._waiting[0] < PATIENCE:
            return ""
        self.problem = self._waiting[1]
        self._waiting = None
        return self.problem

    def _of(self, stamps: Mapping[str, Stamp]) -> tuple[Stamp, ...] | None:
        return tuple(stamps.get(path) for path in self.paths)
