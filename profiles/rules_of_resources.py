"""The invariants of R4 resources, natively; the companion of rules_of_types for what sits at the root of a resource.

A rule sees the resource alone. What needs the surroundings (contained resources, references) is in surroundings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from profiles.primitives import PRIMITIVES, not_after
from profiles.reading import child, children, codings, count, has, has_choice, number, text
from profiles.rules_of_types import TYPE_RULES, Rule

_VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def _is_entered_in_error(node: dict[str, Any]) -> bool:
    return (_VERIFICATION, "entered-in-error") in codings(node, "verificationStatus")


def _abatement_ends_the_condition(node: dict[str, Any]) -> bool:
    return not has_choice(node, "abatement") or any(
        (_CLINICAL, c) in codings(node, "clinicalStatus") for c in ("resolved", "remission", "inactive")
    )


def _component_repeats_the_value(node: dict[str, Any]) -> bool:
    own = codings(node, "code")
    return has_choice(node, "value") and any(codings(component, "code") & own for component in children(node, "component"))


def _each_entry_has(name: str, *types: str) -> Callable[[dict[str, Any]], bool]:
    return lambda node: all(has(entry, name) == (text(node, "type") in types) for entry in children(node, "entry"))


def _starts_with(kind: str, resource_type: str) -> Callable[[dict[str, Any]], bool]:
    def holds(node: dict[str, Any]) -> bool:
        first = children(node, "entry")[:1]
        return text(node, "type") != kind or bool(first and text(child(first[0], "resource"), "resourceType") == resource_type)

    return holds


def _entries_are_distinct(node: dict[str, Any]) -> bool:
    if text(node, "type") == "history":
        return True
    keys = [
        text(entry, "fullUrl") + text(child(child(entry, "resource"), "meta"), "versionId")
        for entry in children(node, "entry")
        if text(entry, "fullUrl")
    ]
    return len(keys) == len(set(keys))


def _document_is_identified(node: dict[str, Any]) -> bool:
    identifier = child(node, "identifier")
    return text(node, "type") != "document" or (has(identifier, "system") and has(identifier, "value"))


def _task_was_written_before_changed(node: dict[str, Any]) -> bool:
    authored, modified = text(node, "authoredOn"), text(node, "lastModified")
    if not authored or not modified or PRIMITIVES["dateTime"](authored) or PRIMITIVES["dateTime"](modified):
        return True
    return not_after(authored, modified)


def _probability_is_a_percentage(node: dict[str, Any]) -> bool:
    value = number(node, "probabilityDecimal")
    return value is None or value <= 100


def _link_ids_are_distinct(node: dict[str, Any]) -> bool:
    seen: set[str] = set()
    waiting = children(node, "item")
    while waiting:
        item = waiting.pop()
        waiting.extend(children(item, "item"))
        link = text(item, "linkId")
        if link in seen:
            return False
        if link:
            seen.add(link)
    return True


def _patient_unless_scope(code: str) -> Rule:
    # The published expressions name the system "something"; kept as they are, since changing them would refuse what HL7 accepts.
    return Rule(
        lambda node: has(node, "patient") or ("something", code) not in codings(node, "scope"),
        "A consent of this scope names the patient.",
    )


_APPOINTMENT_WITHOUT_TIME: Final = frozenset({"proposed", "cancelled", "waitlist"})

_ALLERGY_VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def _is_allergy_in_error(node: dict[str, Any]) -> bool:
    return (_ALLERGY_VERIFICATION, "entered-in-error") in codings(node, "verificationStatus")


# Keys are not unique over R4: where two types share one, "Type:key" stands here and the bare key is not used.
RULES: Final[dict[str, Rule]] = {
    **TYPE_RULES,
    "app-2": Rule(lambda n: has(n, "start") == has(n, "end"), "An appointment has both start and end, or neither."),
    "app-3": Rule(
        lambda n: (has(n, "start") and has(n, "end")) or text(n, "status") in _APPOINTMENT_WITHOUT_TIME,
        "Only a proposed, cancelled or waiting appointment has no time.",
    ),
    "app-4": Rule(
        lambda n: not has(n, "cancelationReason") or text(n, "status") in ("noshow", "cancelled", "no-show"),
        "Only an appointment that did not take place has a reason for it.",
    ),
    "bdl-1": Rule(
        lambda n: not has(n, "total") or text(n, "type") in ("searchset", "history"), "Only a search set or a history has a total."
    ),
    "bdl-2": Rule(
        lambda n: text(n, "type") == "searchset" or not any(has(e, "search") for e in children(n, "entry")),
        "Only entries of a search set have search.",
    ),
    "bdl-3": Rule(
        _each_entry_has("request", "batch", "transaction", "history"), "Entries have a request exactly in batch, transaction and history."
    ),
    "bdl-4": Rule(
        _each_entry_has("response", "batch-response", "transaction-response", "history"),
        "Entries have a response exactly in batch-response, transaction-response and history.",
    ),
    "bdl-7": Rule(_entries_are_distinct, "No two entries have the same fullUrl and version."),
    "bdl-9": Rule(_document_is_identified, "A document has an identifier with system and value."),
    "bdl-10": Rule(lambda n: text(n, "type") != "document" or bool(text(n, "timestamp")), "A document has a timestamp."),
    "bdl-11": Rule(_starts_with("document", "Composition"), "A document starts with its Composition."),
    "bdl-12": Rule(_starts_with("message", "MessageHeader"), "A message starts with its MessageHeader."),
    "con-4": Rule(_abatement_ends_the_condition, "A condition that abated is inactive, resolved or in remission."),
    "con-5": Rule(
        lambda n: not (_is_entered_in_error(n) and has(n, "clinicalStatus")), "A condition entered in error has no clinical status."
    ),
    "obs-6": Rule(
        lambda n: not has(n, "dataAbsentReason") or not has_choice(n, "value"), "dataAbsentReason and a value exclude each other."
    ),
    "obs-7": Rule(lambda n: not _component_repeats_the_value(n), "A component with the observation's own code excludes a value."),
    "org-1": Rule(lambda n: count(n, "identifier") > 0 or has(n, "name"), "An organization has an identifier or a name."),
    "ppc-1": Rule(lambda n: has(n, "policy") or has(n, "policyRule"), "A consent names a policy or a policy rule."),
    "ppc-2": _patient_unless_scope("patient-privacy"),
    "ppc-3": _patient_unless_scope("research"),
    "ppc-4": _patient_unless_scope("adr"),
    "ppc-5": _patient_unless_scope("treatment"),
    "Task:inv-1": Rule(_task_was_written_before_changed, "A task was not modified before it was authored."),
    "ait-1": Rule(lambda n: _is_allergy_in_error(n) or has(n, "clinicalStatus"), "An allergy that is not an error has a clinical status."),
    "ait-2": Rule(
        lambda n: not (_is_allergy_in_error(n) and has(n, "clinicalStatus")), "An allergy entered in error has no clinical status."
    ),
    "cmp-1": Rule(lambda n: any(has(n, k) for k in ("text", "entry", "section")), "A section has text, entries or sections."),
    "cmp-2": Rule(lambda n: not (has(n, "emptyReason") and has(n, "entry")), "A section with entries has no reason for being empty."),
    "cpl-3": Rule(lambda n: not (has(n, "detail") and has(n, "reference")), "An activity has a detail or a reference, not both."),
    "gol-1": Rule(lambda n: not has_choice(n, "detail") or has(n, "measure"), "A target's detail needs its measure."),
    "grp-1": Rule(lambda n: not has(n, "member") or n.get("actual") is True, "Only an actual group has members."),
    "lst-1": Rule(lambda n: not (has(n, "emptyReason") and has(n, "entry")), "A list with entries has no reason for being empty."),
    "lst-2": Rule(
        lambda n: text(n, "mode") == "changes" or not any(has(e, "deleted") for e in children(n, "entry")),
        "Only a list of changes has deletions.",
    ),
    "lst-3": Rule(
        lambda n: text(n, "mode") == "working" or not any(has(e, "date") for e in children(n, "entry")),
        "Only a working list dates its entries.",
    ),
    "ras-2": Rule(_probability_is_a_percentage, "A probability is at most 100."),
    "prr-1": Rule(lambda n: not has(n, "orderDetail") or has(n, "code"), "Order details need a code."),
    "que-2": Rule(_link_ids_are_distinct, "No two items have the same linkId."),
}


def rules_of(type_name: str, keys: Iterable[str]) -> list[tuple[Callable[[dict[str, Any]], bool], str]]:
    """(test, sentence) of those invariants of a type that are held natively; unknown keys are left out (see unchecked_rules)."""
    found = ((key, RULES.get(f"{type_name}:{key}") or RULES.get(key)) for key in keys)
    return [(rule.holds, f"{key}: {rule.says}") for key, rule in found if rule is not None]


def is_native(type_name: str, key: str) -> bool:
    """Whether an invariant that stands on a type, or on one of its elements, is held by these tables."""
    return f"{type_name}:{key}" in RULES or key in RULES
