"""FHIR date, dateTime and instant text as the span of time it stands for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_DATE_TIME: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


def span_of(text: str) -> tuple[datetime, datetime] | None:
    """The first instant a date or dateTime covers and the first after it, both aware UTC; None for text that is neither.

    "2026-11" is the whole month. A time without a zone is read as UTC. Source: FHIR R4 search, date parameters.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        start = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),  # a leap second is read as the second before it
            int((fraction or "0").ljust(6, "0")[:6]),
            tzinfo=UTC,
        )
        start -= _offset(zone)
        return start, _after(start, int(year), match)
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError("no such zone")
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def _after(start: datetime, year: int, match: re.Match[str]) -> datetime:
    if match[2] is None:
        return start.replace(year=year + 1)
    if match[3] is None:
        return start.replace(year=year + int(match[2]) // 12, month=int(match[2]) % 12 + 1)
    if match[4] is None:
        return start + timedelta(days=1)
    if match[6] is None:
        return start + timedelta(minutes=1)
    if match[7] is None:
        return start + timedelta(seconds=1)
    return start + timedelta(microseconds=10 ** max(0, 6 - len(match[7])))
