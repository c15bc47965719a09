"""The validator: holds FHIR R4 resources to the base specification, from compiled facts.

Judges structure, primitive values, cardinality, choice types, required bindings, references and the invariants of the rule tables.
It fetches nothing, repairs nothing and repeats no value. Profiles beyond the base are not applied: asking for one is answered
with an informational issue, never with silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from profiles.facts import Facts, r4_facts
from profiles.issues import Issue
from profiles.rules_of_resources import is_native
from profiles.run import Enough, Entries, Run, Scope
from profiles.structure import Structure
from profiles.surroundings import check_contained, check_entries, check_search_set

_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
# Held outside the rule tables: by surroundings, references and narrative.
_BY_HAND: Final = frozenset({"dom-2", "dom-3", "dom-4", "dom-5", "ref-1", "txt-1", "txt-2"})
_ERRORS: Final = frozenset({"error", "fatal"})


class Validator:
    """Validates resources of one FHIR version; safe to share between threads."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._structure = Structure(facts, self._nested)

    def validate(self, resource: Any, profiles: Sequence[str] = ()) -> list[Issue]:
        """All faults of one resource, in document order; empty when it is valid R4.

        resource: parsed JSON of any shape. profiles: canonical URLs it must also conform to. Expressions are FHIRPath with indexes.
        Bounded: at most run.MAX_ISSUES faults, run.MAX_DEPTH levels and run.MAX_OBJECTS objects are looked at. Never raises.
        """
        run = Run(resource if isinstance(resource, dict) else {})
        try:
            self._resource(resource, "", run)
            if isinstance(resource, dict) and resource.get("contained") is not None:
                check_contained(resource, str(resource.get("resourceType")), run)
        except Enough:
            return run.issues
        for profile in profiles:
            self._asked_for(resource, profile, run)
        return run.issues

    def _asked_for(self, resource: Any, profile: str, run: Run) -> None:
        name = profile.partition("|")[0].removeprefix(_BASE)
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if name in self._facts.resource_types:
            if name != kind:
                run.issues.append(Issue("error", "structure", "The resource is of another type than the profile."))
        else:
            run.issues.append(Issue("information", "not-supported", f"Not checked against {profile}: the profile is not loaded."))

    def _resource(self, resource: Any, path: str, run: Run) -> None:
        """Check a resource in the scope that stands in the run. path: "" for the root, which is named by its own type."""
        if not isinstance(resource, dict):
            run.add("structure", path, "A resource is a JSON object.")
            return
        kind = resource.get("resourceType")
        if not isinstance(kind, str) or kind not in self._facts.resource_types:
            run.add("structure", path, "resourceType is missing." if kind is None else "resourceType is not a resource type of R4.")
            return
        place = path or kind
        if kind == "Bundle":
            outer, run.entries = run.entries, Entries(resource)
            check_entries(resource, place, run)
            check_search_set(resource, place, run)
            self._structure.check(self._structure.node(kind), resource, place, run)
            run.entries = outer
        else:
            self._structure.check(self._structure.node(kind), resource, place, run)

    def _nested(self, resource: Any, path: str, run: Run) -> None:
        """A resource inside another: contained ones share the scope, entries and parameters have their own."""
        if path.rpartition(".")[2].startswith("contained["):
            self._resource(resource, path, run)
            return
        outer, run.scope = run.scope, Scope(resource if isinstance(resource, dict) else {})
        self._resource(resource, path, run)
        if isinstance(resource, dict):
            check_contained(resource, path, run)
        run.scope = outer


@lru_cache(maxsize=1)
def r4() -> Validator:
    """The validator of FHIR R4 4.0.1, made once for the process."""
    return Validator(r4_facts())


def has_errors(issues: Iterable[Issue]) -> bool:
    """Whether any issue makes the resource invalid."""
    return any(issue.severity in _ERRORS for issue in issues)


def unchecked_rules(type_name: str) -> frozenset[str]:
    """Keys of invariants that R4 sets on a type or inside it and that this validator does not hold."""
    facts = r4_facts()
    kept: set[str] = set()
    for name, fact in facts.types.items():
        if name == type_name or name.startswith(type_name + "."):
            for keys in (fact.get("rules", []), *(element.get("rules", []) for element in fact["elements"].values())):
                kept.update(key for key in keys if not is_native(name, key))
    return frozenset(kept - _BY_HAND)
