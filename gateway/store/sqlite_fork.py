"""SQLite and fork: nobody is inside the database when this process forks, and nothing of it is open.

SQLite keeps a list a process of what it has locked, and a child inherits that list but none of the locks. A connection the child
opens then believes it holds what it does not: when the parent closes its last one, the journal the child commits to is deleted,
and what the child was told is kept is lost (https://sqlite.org/howtocorrupt.html §2.6). Only an empty list is safe to inherit.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class ForkGate:
    """Who is inside is counted; a fork lets nobody else in, waits until all have left, and holds the gate shut for its duration."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: Counter[int] = Counter()  # thread → how deep
        self._shutting = False

    @contextmanager
    def inside(self, *, in_a_work: bool) -> Iterator[None]:
        """Be inside; waits only while the process forks.

        in_a_work: whether somebody who is inside waits for what this thread does. Like a thread that is inside already it is
        let in while others leave, since they wait for it.
        """
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._shutting or in_a_work or me in self._inside)
            self._inside[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[me] -= 1
                if not self._inside[me]:
                    del self._inside[me]
                    self._changed.notify_all()

    def shut(self, wait_seconds: float) -> bool:
        """Hold everybody out until `open` is called by this thread; False when somebody did not leave in time."""
        self._changed.acquire()
        self._shutting = True
        return self._changed.wait_for(lambda: not self._inside, wait_seconds)

    def open(self) -> None:
        """Let everybody in again."""
        self._shutting = False
        self._changed.notify_all()
        self._changed.release()
