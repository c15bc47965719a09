"""The rows of a run: the table in the terminal and build/bench.json, whose fields other people's scripts read.

`python -m bench.report build/bench.json` prints the table of docs/performance.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

HEADINGS: Final = ("name", "database", "clients", "per second", "p50 ms", "p99 ms", "limit", "of it")


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. limit: the name of the lower limit that applies, None for a limit itself; p50_ms, p99_ms: None where nobody waited."""

    name: str
    database: str
    clients: int
    per_second: float
    p50_ms: float | None
    p99_ms: float | None
    limit: str | None = None
    ratio_to_limit: float | None = None


def figure(name: str, database: str, clients: int, milliseconds: Sequence[float], seconds: float, limits: Sequence[Figure] = ()) -> Figure:
    """The row of a case. milliseconds: of each answer. limits: of which the lower one is named."""
    rate = len(milliseconds) / seconds
    p50, p99 = _percentiles(milliseconds)
    lowest = min(limits, key=lambda limit: limit.per_second, default=None)
    ratio = round(rate / lowest.per_second, 3) if lowest else None
    return Figure(name, database, clients, round(rate, 1), p50, p99, lowest.name if lowest else None, ratio)


def _percentiles(milliseconds: Sequence[float]) -> tuple[float | None, float | None]:
    if len(milliseconds) < 2:
        return (round(milliseconds[0], 2),) * 2 if milliseconds else (None, None)
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return round(cuts[49], 2), round(cuts[98], 2)


def line(row: Figure) -> str:
    """One row of the table."""
    return _line(
        (
            row.name,
            row.database,
            str(row.clients),
            f"{row.per_second:,.0f}" if row.per_second >= 100 else f"{row.per_second:.1f}",
            "" if row.p50_ms is None else f"{row.p50_ms:.1f}",
            "" if row.p99_ms is None else f"{row.p99_ms:.1f}",
            row.limit or "",
            "" if row.ratio_to_limit is None else f"{row.ratio_to_limit:.0%}",
        )
    )


def heading() -> str:
    """The first line of the table."""
    return _line(HEADINGS)


def _line(cells: Sequence[str]) -> str:
    widths = (36, -10, 7, 10, 8, 8, -36, 5)
    return "  ".join(
        cell.ljust(abs(w)) if w < 0 or at == 0 else cell.rjust(w) for at, (cell, w) in enumerate(zip(cells, widths, strict=True))
    )


def save(rows: Sequence[Figure], file: Path) -> None:
    """Write the rows as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def markdown(rows: Sequence[Figure]) -> str:
    """The table of docs/performance.md: the cases, a bare database's rate beside the limit's name where it is the lower one."""
    rates = {(row.name, row.database, row.clients): row.per_second for row in rows if row.limit is None}
    lines = ["| name | database | clients | per second | p50 ms | p99 ms | limit | of it |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        if row.limit is None:
            continue
        rate = rates.get((row.limit, row.database, row.clients)) or rates.get((row.limit, row.database, 1), 0.0)
        waits = ["" if wait is None else f"{wait:,.0f}" if wait >= 100 else f"{wait:.1f}" for wait in (row.p50_ms, row.p99_ms)]
        limit = f"{row.limit.partition(':')[0]}, {rate:,.0f}/s"
        cells = (row.name, row.database, row.clients, f"{row.per_second:,.1f}", *waits, limit, f"{row.ratio_to_limit:.0%}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown([Figure(**row) for row in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]))
