"""The table of requirements: each rule in our own words, where it stands, and which checks hold a system to it.

A SHALL without a check needs a reason in the table; the tests hold table and checks together.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

COLUMNS: Final = ("id", "source", "url", "wording", "level", "actor", "checks", "reason")
TEXTS: Final = tuple(name for name in COLUMNS if name != "checks")
LEVELS: Final = frozenset({"SHALL", "SHOULD"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row. checks: ids, in no order; reason: why there is none, or why the checks do not cover all of it."""

    id: str
    source: str
    url: str
    wording: str
    level: str
    actor: str
    checks: tuple[str, ...]
    reason: str


@cache
def requirements() -> Mapping[str, Requirement]:
    """The shipped table, by id."""
    text = resources.files("conformance").joinpath("requirements.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    made = (Requirement(**{name: row[name] for name in TEXTS}, checks=tuple(row["checks"].split())) for row in rows)
    return {each.id: each for each in made}


def uncovered(rows: Iterable[Requirement]) -> list[Requirement]:
    """The SHALLs no check covers."""
    return [row for row in rows if row.level == "SHALL" and not row.checks]
