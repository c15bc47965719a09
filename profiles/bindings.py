"""Required bindings: is this code one of the value set's?

Value sets whose codes the core package does not carry are held to the shape of their codes (media types, currencies) or not checked at
all (UCUM units, one LOINC answer list): unchecked_sets() names those. Extensible and weaker bindings never make an error.
Source: https://hl7.org/fhir/R4/terminologies.html#strength.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from profiles.facts import Facts
from profiles.primitives import PRIMITIVES, PrimitiveTest
from profiles.reading import children, text
from profiles.run import Run

Check = Callable[[Any, str, Run], None]

# CapabilityStatement.format may use the short names of R4's own formats instead of a media type.
_MEDIA_TYPE: Final = re.compile(r"[!#$&^_.+\-A-Za-z0-9]+/[!#$&^_.+\-*A-Za-z0-9]+(?: ?;.*)?|xml|json|ttl", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_SHAPES: Final[dict[str, re.Pattern[str]]] = {
    "http://hl7.org/fhir/ValueSet/mimetypes": _MEDIA_TYPE,
    "http://hl7.org/fhir/ValueSet/currencies": _CURRENCY,
}
_NOT_A_CODE: Final = "The code is not in the required value set {}."


def unchecked_sets(facts: Facts) -> frozenset[str]:
    """Required value sets whose codes are neither known nor held to a shape."""
    return facts.unexpanded - frozenset(_SHAPES)


def code_test(facts: Facts, url: str) -> Callable[[str], bool] | None:
    """Whether a plain code is allowed; None when this set is not checked."""
    if url in facts.sets:
        codes = frozenset[str]().union(*facts.sets[url].values())
        return codes.__contains__
    shape = _SHAPES.get(url)
    return None if shape is None else lambda code: shape.fullmatch(code) is not None


def bound_code(facts: Facts, url: str, primitive: str) -> Callable[[Any], tuple[str, str] | None]:
    """A test of a code element: (issue code, sentence) or None. Its form is judged first, then the set."""
    form: PrimitiveTest = PRIMITIVES[primitive]
    allowed = code_test(facts, url)
    says = ("code-invalid", _NOT_A_CODE.format(url))

    def test(value: Any) -> tuple[str, str] | None:
        fault = form(value)
        if fault is not None:
            return "value", fault
        return None if allowed is None or allowed(value) else says

    return test


def bound_concept(facts: Facts, url: str, type_name: str) -> Check | None:
    """A check of a Coding, CodeableConcept or Quantity element, beside the check of its own parts; None when not checked."""
    systems = facts.sets.get(url)
    if systems is None or type_name not in ("Coding", "CodeableConcept"):
        return None
    says = _NOT_A_CODE.format(url)

    def is_in(coding: dict[str, Any]) -> bool:
        return text(coding, "code") in systems.get(text(coding, "system"), ())

    def coding(value: Any, path: str, run: Run) -> None:
        if isinstance(value, dict) and ("code" in value or "system" in value) and not is_in(value):
            run.add("code-invalid", f"{path}.code" if "code" in value else path, says)

    def concept(value: Any, path: str, run: Run) -> None:
        # One coding from the set is enough, text alone is not; a concept with nothing but extensions says why it is empty.
        if not isinstance(value, dict) or not ("coding" in value or "text" in value):
            return
        held = children(value, "coding")
        if not any(is_in(item) for item in held):
            run.add("code-invalid", f"{path}.coding[0].code" if len(held) == 1 and "code" in held[0] else path, says)

    return coding if type_name == "Coding" else concept
