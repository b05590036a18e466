"""Locks on files of the storage (L7), which the kernel frees when a process dies.

One instance orders at a time. All instances together hold `instances`, so the one that orders can tell
whether there are others, whom it must give time to find its challenges.
"""

import errno
import fcntl
import os
from contextlib import suppress

_LOCK, _INSTANCES = "lock", "instances"
# What network file systems say that do not have locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class FolderLock:
    """That of an authority's folder. All methods may wait for a disk, and may raise OSError."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = -1
        self._instances = -1
        self._is_seen = False  # its lock on `instances` holds

    def take(self) -> bool:
        """Become the one that orders, until `free`; False if another instance is. Always True where the file
        system has no locks."""
        descriptor = self._open(_LOCK)
        if not _locked(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def free(self) -> None:
        """Let others order."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    def join(self) -> None:
        """Be seen by the others. Call it again and again: it fails while another one looks who is there."""
        if self._instances >= 0 and not os.fstat(self._instances).st_nlink:  # somebody has removed the file
            os.close(self._instances)
            self._instances, self._is_seen = -1, False
        if self._instances < 0:
            self._instances = self._open(_INSTANCES)
        if not self._is_seen:
            self._is_seen = _locked(self._instances, fcntl.LOCK_SH)

    def is_alone(self) -> bool:
        """Whether no other instance is there, as far as this can be told."""
        self.join()
        try:
            # What fails here also loses the lock that was there (flock(2)): it is taken again.
            fcntl.flock(self._instances, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            return True
        finally:
            self._is_seen = _locked(self._instances, fcntl.LOCK_SH)

    def close(self) -> None:
        """Leave."""
        self.free()
        descriptor, self._instances, self._is_seen = self._instances, -1, False
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        with suppress(FileExistsError):
            os.makedirs(self._folder, mode=0o700)
        return os.open(os.path.join(self._folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return kind == fcntl.LOCK_EX  # nobody can be kept out, or seen
    return True
