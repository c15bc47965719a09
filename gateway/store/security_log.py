"""Callers nobody knows: counted in this process and logged at a bounded rate, never written to the database.

A flood of bad tokens or assertions therefore costs no write and no disk. Knows reasons only: no token, name or address.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Final

import structlog

log = structlog.get_logger(__name__)

LINE_SECONDS: Final = 10.0
"""At most one line a reason in this time; it says how many there were since the last."""

_lock: Final = threading.Lock()
_counted: Final[Counter[str]] = Counter()
_logged: Final[dict[str, tuple[float, int]]] = {}


def count_unknown_caller(reason: str) -> None:
    """Count a caller that could not prove who it is. reason: a word of ours out of few, never what the caller sent."""
    now = time.monotonic()
    with _lock:
        _counted[reason] += 1
        count = _counted[reason]
        last_at, last_count = _logged.get(reason, (float("-inf"), 0))
        if now - last_at < LINE_SECONDS:
            return
        _logged[reason] = (now, count)
    log.warning("unknown caller", reason=reason, since_last_line=count - last_count)


def unknown_callers() -> dict[str, int]:
    """How many there were in this process by now, by reason."""
    with _lock:
        return dict(_counted)
