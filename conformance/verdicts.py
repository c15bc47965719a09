"""How a check ends, and what it says then. A check that finds nothing wrong returns; the other ends are raised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conformance.exchange import Exchange

PASS: Final = "pass"  # noqa: S105 (a verdict)
FAIL: Final = "fail"
WARN: Final = "warn"
NOT_DEMONSTRATED: Final = "not demonstrated"
NOT_APPLICABLE: Final = "not applicable"
ERROR: Final = "error"
VERDICTS: Final = (ERROR, FAIL, WARN, NOT_DEMONSTRATED, NOT_APPLICABLE, PASS)
"""Worst first."""


class Failed(Exception):
    """The system under test breaks the rule. exchange: where it shows (None: the last one)."""

    def __init__(self, text: str, exchange: Exchange | None = None) -> None:
        self.text, self.exchange = text, exchange
        super().__init__(text)


class NotDemonstrated(Exception):
    """The rule could not be put to the test here; the text says what was missing."""


class NotApplicable(Exception):
    """The system does not claim what the rule is about."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check's end. exchanges: what was said meanwhile, in order; shown: the one that tells most."""

    check: str
    title: str
    verdict: str
    text: str
    requirements: tuple[str, ...]
    likely_cause: str
    seconds: float
    exchanges: tuple[Exchange, ...] = ()
    shown: Exchange | None = None
    warnings: tuple[str, ...] = ()


def worst(results: Sequence[Result]) -> str:
    """The verdict of a whole run."""
    found = {result.verdict for result in results}
    return next((verdict for verdict in VERDICTS if verdict in found), NOT_DEMONSTRATED)
