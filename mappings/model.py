"""What a mapping hands back: the resources, where each value came from, what was left over, what was wrong.

No issue here carries a value of the message: issues are shown to callers and kept in logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

# Begins each reference of a mapping's output to another of its resources; text of a message must not be taken for one.
RESERVED: Final = "urn:local:"


class MappingDefect(Exception):
    """A shipped table, code map or schema is wrong; raised at load time with every defect found, never by a message."""

    def __init__(self, defects: list[str]) -> None:
        self.defects = tuple(defects)
        super().__init__("; ".join(defects))


@dataclass(frozen=True, slots=True)
class MapIssue:
    """One fault of a message.

    severity, code: codes of http://hl7.org/fhir/ValueSet/issue-severity and …/issue-type.
    source: JSON pointer into the message. expression: FHIRPath of the elements the field feeds, with indexes.
    """

    severity: str
    code: str
    text: str
    source: str
    expression: tuple[str, ...] = ()


class TraceRow(NamedTuple):
    """Where one value went.

    source: JSON pointer with indexes, or None for a constant of the table.
    target: local name and path with indexes, such as "patient:Patient.name[0].given[1]" or "routing:routing.door".
    map: name of the ConceptMap used. function: registered name of the function used.
    """

    rule: str
    source: str | None
    target: str
    map: str | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """One message as R4 resources of the sender's domain.

    resources: local name → R4 JSON. References between them are `urn:local:<name>`, the sender's organisation is
    `urn:local:sender`; both are for the caller to replace. unused: pointers of the source values that no rule read.
    routing: what a protocol reads to decide, see docs/mapping.md; unknown stays "unknown".
    """

    resources: dict[str, dict[str, Any]]
    trace: list[TraceRow]
    unused: list[str]
    issues: list[MapIssue]
    routing: dict[str, Any] = field(default_factory=dict)
