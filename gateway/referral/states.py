"""The Task state machine as data: which move, by whom, with which effect, and which words a peer's codes mean.

Source: FHIR R4 Task (https://hl7.org/fhir/R4/task.html) and SDOHCC 3.0.0; the table is referral/states.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from gateway.errors import IllegalTransition

MILESTONES: Final = ("en-route", "on-scene", "contact-made", "engaged", "not-engaged")
NO_MILESTONE: Final = "none"
OWNER: Final = "owner"
REQUESTER: Final = "requester"


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal move of Task.status; `effect` is what the referral does with it."""

    id: str
    old: str
    new: str
    by: str
    effect: str


@dataclass(frozen=True, slots=True)
class StateTable:
    """The whole table of states.json."""

    transitions: Mapping[tuple[str, str, str], Transition]
    terminal: frozenset[str]
    synonyms: Mapping[str, str]
    outcome_needed: frozenset[str]
    owner_elements: tuple[str, ...]
    milestone_of_code: Mapping[str, str]
    milestone_systems: frozenset[str]
    milestone_of_status: Mapping[str, str]

    def legal_next(self, old: str, by: str) -> frozenset[str]:
        """The statuses this party may move to from `old` (staying is not listed)."""
        return frozenset(new for start, new, who in self.transitions if start == old and who == by and new != old)

    def require_transition(self, old: str, new: str, by: str) -> Transition:
        """Find the move or refuse it.

        old, new: codes of http://hl7.org/fhir/ValueSet/task-status; a peer's `received` and `ready` are read as
        `requested` and `accepted`. Raises IllegalTransition naming the legal ones.
        """
        new = self.synonyms.get(new, new)
        found = self.transitions.get((old, new, by))
        if found is None:
            raise IllegalTransition(old, new, self.legal_next(old, by))
        return found


def _table(document: Mapping[str, Any]) -> StateTable:
    milestones = document["milestones"]
    return StateTable(
        transitions={
            (row["from"], row["to"], row["by"]): Transition(row["id"], row["from"], row["to"], row["by"], row["effect"])
            for row in document["transitions"]
        },
        terminal=frozenset(document["terminal"]),
        synonyms=document["synonyms"],
        outcome_needed=frozenset(document["outcome_needed"]),
        owner_elements=tuple(document["owner_elements"]),
        milestone_of_code={code: name for name in (*MILESTONES, NO_MILESTONE) for code in milestones[name]},
        milestone_systems=frozenset(milestones["systems"]),
        milestone_of_status=milestones["by_status_without_code"],
    )


@cache
def state_table() -> StateTable:
    """The shipped table, read once."""
    text = resources.files("gateway.referral").joinpath("states.json").read_text(encoding="utf-8")
    return _table(json.loads(text))


def _concepts(task: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if isinstance(task.get("businessStatus"), dict):
        yield task["businessStatus"]
    for output in task.get("output") or ():
        if isinstance(output.get("valueCodeableConcept"), dict):
            yield output["valueCodeableConcept"]


def milestones_in(task: Mapping[str, Any]) -> frozenset[str]:
    """Which of MILESTONES a Task's codes say has happened.

    A code of businessStatus or output decides; a Task without any known code is read by its status alone.
    """
    table = state_table()
    coded = [
        table.milestone_of_code[coding["code"]]
        for concept in _concepts(task)
        for coding in concept.get("coding") or ()
        if coding.get("system") in table.milestone_systems and coding.get("code") in table.milestone_of_code
    ]
    if coded:
        return frozenset(coded) - {NO_MILESTONE}
    by_status = table.milestone_of_status.get(str(task.get("status")))
    return frozenset({by_status} if by_status else ())


def has_outcome(task: Mapping[str, Any]) -> bool:
    """Whether a Task says what came of it: an output, or a businessStatus (SDOHCC refer-10)."""
    return bool(task.get("output")) or bool(task.get("businessStatus"))
