"""Code translation by FHIR ConceptMap resources (mappings/codes/*.json): reviewable tables, looked up in a dictionary.

A map may have several groups, one a target system; an element may have one target in each. A source code a map does
not know is a fault of the message, unless the map names an `unmapped` code of mode "fixed".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mappings.model import MappingDefect


@dataclass(frozen=True, slots=True)
class CodeMap:
    """One compiled ConceptMap. forms: form ("code", "coding", "concept", "text") → source code → the FHIR value."""

    name: str
    forms: Mapping[str, Mapping[str, Any]]
    fallback: Mapping[str, Any]

    def translate(self, code: Any, form: str) -> Any:
        """The FHIR value of a source code in the wanted form, or None where the map has none. Callers may not change it."""
        found = self.forms[form].get(code) if isinstance(code, str) else None
        return found if found is not None else self.fallback.get(form)

    def knows(self, code: str) -> bool:
        """Say whether the map gives this source code a target."""
        return code in self.forms["code"] or bool(self.fallback)


def read_code_map(resource: Mapping[str, Any]) -> CodeMap:
    """Compile a ConceptMap; raises MappingDefect when it is not one, or gives one code two targets in a group."""
    name = str(resource.get("name"))
    if resource.get("resourceType") != "ConceptMap" or not resource.get("group"):
        raise MappingDefect([f"code map {name}: not a ConceptMap with groups"])
    codings: dict[str, list[dict[str, Any]]] = {}
    texts: dict[str, str] = {}
    fallback: dict[str, Any] = {}
    for group in resource["group"]:
        for element in group["element"]:
            targets = [target for target in element.get("target", ()) if "code" in target]
            if len(targets) > 1:
                raise MappingDefect([f"code map {name}: {element['code']} has two targets in one group"])
            codings.setdefault(element["code"], []).extend(_coding(group["target"], target) for target in targets)
            if "display" in element:
                texts.setdefault(element["code"], element["display"])
        unmapped = group.get("unmapped", {})
        if unmapped.get("mode") == "fixed" and not fallback:
            fallback = _forms([_coding(group["target"], unmapped)], unmapped.get("display"))
    entries = {code: _forms(found, texts.get(code)) for code, found in codings.items() if found}
    forms = {form: {code: entry[form] for code, entry in entries.items()} for form in ("code", "coding", "concept", "text")}
    return CodeMap(name, forms, fallback)


def _coding(system: str, target: Mapping[str, Any]) -> dict[str, Any]:
    coding = {"system": system, "code": target["code"]}
    return {**coding, "display": target["display"]} if "display" in target else coding


def _forms(codings: list[dict[str, Any]], text: str | None) -> dict[str, Any]:
    concept: dict[str, Any] = {"coding": codings}
    if text is not None:
        concept["text"] = text
    return {"code": codings[0]["code"], "coding": codings[0], "concept": concept, "text": text or codings[0].get("display")}
