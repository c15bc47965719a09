"""One row a case: what was acknowledged, how many died, and what each check says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.checks import CHECKS

COLUMNS: Final = ("case", *CHECKS)
"""What the case itself saw, and each check."""

SHOWN: Final = 5


@dataclass(slots=True)
class Row:
    """verdicts: faults by check. happened: whether the fault came; without it nothing was shown."""

    case: str
    database: str
    acknowledged: int = 0
    killed: int = 0
    seconds: float = 0.0
    happened: bool = False
    said: str = ""
    verdicts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.happened and set(self.verdicts) == set(COLUMNS) and not any(self.verdicts.values())

    @property
    def faults(self) -> list[str]:
        """What did not hold, the first few of each check; build/faults.json has all."""
        told = [] if self.happened else [f"the fault did not come: {self.said}"]
        for name, found in self.verdicts.items():
            told += [f"{name}: {fault}" for fault in found[:SHOWN]]
            told += [f"{name}: and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return told


def heading() -> str:
    """The first line of the table."""
    checks = " ".join(f"{name:>7}" for name in COLUMNS)
    return f"{'case':<30} {'database':<10} {'acked':>5} {'killed':>6} {checks} {'s':>6}  verdict"


def line(row: Row) -> str:
    """One line of the table; a number is how many things a check found."""
    checks = " ".join(f"{_word(row.verdicts, name):>7}" for name in COLUMNS)
    counted = f"{row.case:<30} {row.database:<10} {row.acknowledged:>5} {row.killed:>6}"
    return f"{counted} {checks} {row.seconds:>6.1f}  {'ok' if row.ok else 'FAIL'}  {row.said}".rstrip()


def _word(verdicts: Mapping[str, list[str]], name: str) -> str:
    if name not in verdicts:
        return "-"
    return str(len(verdicts[name])) if verdicts[name] else "ok"


def save(rows: Sequence[Row], output: Path, *, seed: int) -> None:
    """Write build/faults.json."""
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {"seed": seed, "cases": [{**asdict(row), "ok": row.ok} for row in rows]}
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
