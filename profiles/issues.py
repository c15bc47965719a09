"""The one shape of a fault: what became wrong, where, in which words.

An issue never carries a value of the data it speaks of: it is shown to callers and kept in logs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of OperationOutcome.issue.

    severity: code of http://hl7.org/fhir/ValueSet/issue-severity.
    code: code of http://hl7.org/fhir/ValueSet/issue-type.
    text: a sentence for people; holds no value of the data.
    expression: FHIRPath of each element concerned, with indexes.
    source: JSON pointer (or field name) in the caller's own message.
    """

    severity: str
    code: str
    text: str
    expression: tuple[str, ...] = ()
    source: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Render as an element of OperationOutcome.issue."""
        issue: dict[str, Any] = {"severity": self.severity, "code": self.code, "details": {"text": self.text}}
        if self.source is not None:
            issue["diagnostics"] = f"source field: {self.source or '/'}"
        if self.expression:
            issue["expression"] = list(self.expression)
        return issue


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """Build an OperationOutcome; with no issue it says that all is well (R4: issue is 1..*)."""
    rendered = [issue.as_json() for issue in issues]
    return {
        "resourceType": "OperationOutcome",
        "issue": rendered or [{"severity": "information", "code": "informational", "details": {"text": "All is well."}}],
    }
