"""Value sets to the codes they hold, from the definitions of one package; used when facts are compiled, never at run time.

Expands what a package can answer by itself: listed concepts, whole code systems, hierarchy and property filters, imports, exclusions.
Answers None for a set that needs a code system the package does not carry; it never returns a part of a set as the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Codes = dict[str, set[str]]  # system URL -> codes


class Expander:
    """Expands the value sets of one package.

    systems, sets: CodeSystem and ValueSet resources by canonical URL without version.
    """

    def __init__(self, systems: Mapping[str, dict[str, Any]], sets: Mapping[str, dict[str, Any]]) -> None:
        self._systems, self._sets = systems, sets

    def expand(self, url: str, seen: frozenset[str] = frozenset()) -> Codes | None:
        """The codes of a value set, or None when the package alone cannot tell."""
        definition = self._sets.get(url.partition("|")[0])
        if definition is None or url in seen:
            return None
        compose = definition.get("compose", {})
        codes: Codes = {}
        for part in compose.get("include", []):
            included = self._part(part, seen | {url})
            if included is None:
                return None
            for system, found in included.items():
                codes.setdefault(system, set()).update(found)
        for part in compose.get("exclude", []):
            excluded = self._part(part, seen | {url})
            if excluded is None:
                return None
            for system, found in excluded.items():
                codes.get(system, set()).difference_update(found)
        return codes or None

    def _part(self, part: dict[str, Any], seen: frozenset[str]) -> Codes | None:
        chosen: Codes | None = None
        if "system" in part:
            found = self._of_system(part)
            if found is None:
                return None
            chosen = {part["system"]: found}
        for url in part.get("valueSet", []):
            imported = self.expand(url, seen)
            if imported is None:
                return None
            # Several conditions in one include hold together (ValueSet.compose.include).
            chosen = imported if chosen is None else {s: chosen[s] & imported[s] for s in chosen.keys() & imported.keys()}
        return chosen

    def _of_system(self, part: dict[str, Any]) -> set[str] | None:
        if "concept" in part:
            return {concept["code"] for concept in part["concept"]}
        system = self._systems.get(part["system"])
        if system is None or system.get("content") != "complete":
            return None
        concepts = {concept["code"]: (concept, ancestors) for concept, ancestors in _concepts(system)}
        kept = set(concepts)
        for rule in part.get("filter", []):
            passing = _filter(rule, concepts)
            if passing is None:
                return None
            kept &= passing
        return kept


def _concepts(system: dict[str, Any]) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Each concept with the codes above it, by nesting or by a subsumedBy property."""
    stack = [(concept, frozenset[str]()) for concept in system.get("concept", [])]
    while stack:
        concept, above = stack.pop()
        parents = {p.get("valueCode") for p in concept.get("property", []) if p["code"] in ("subsumedBy", "parent")} - {None}
        yield concept, above | parents
        stack.extend((child, above | parents | {concept["code"]}) for child in concept.get("concept", []))


def _filter(rule: dict[str, Any], concepts: dict[str, tuple[dict[str, Any], frozenset[str]]]) -> set[str] | None:
    operator, wanted = rule["op"], rule["value"]
    if operator in ("is-a", "descendent-of", "is-not-a"):
        below = {code for code, (_, above) in concepts.items() if wanted in above}
        if operator == "is-a":
            return below | {wanted}
        return below if operator == "descendent-of" else set(concepts) - below - {wanted}
    if operator in ("=", "in", "regex"):
        values = {code: _values(concept, rule["property"]) for code, (concept, _) in concepts.items()}
        if operator == "regex":
            return {code for code, held in values.items() if any(re.fullmatch(wanted, value) for value in held)}
        accepted = {wanted} if operator == "=" else set(wanted.split(","))
        return {code for code, held in values.items() if held & accepted}
    return None


def _values(concept: dict[str, Any], name: str) -> set[str]:
    if name in ("code", "concept"):
        return {concept["code"]}
    held = (next(v for k, v in p.items() if k.startswith("value")) for p in concept.get("property", []) if p["code"] == name)
    return {str(value).lower() if isinstance(value, bool) else str(value) for value in held}
