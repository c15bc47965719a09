"""The one writer of a SQLite database, over all processes: a kernel lock on a file beside it.

SQLite's own lock makes writers poll, and under load some of them wait for seconds; this one hands over at once.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class WriteLock:
    """`flock` on `<database>.lock`. One object a process, opened after a fork; the file is never deleted.

    A forked child that kept the descriptor would keep the lock of its parent: `forget` closes it there.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(f"{database.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Wait until this process is the writer. Raises OSError."""
        while True:
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self._is_still_there(self._descriptor):
                return
            self.forget()  # somebody deleted or replaced the file: others lock the new one

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))

    def release(self) -> None:
        """Let the next writer in."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Close the file; in a forked child this leaves the parent's lock as it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
