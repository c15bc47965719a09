"""Compile the definitions of FHIR R4 into the facts the validator needs, without a sentence of prose.

`python -m profiles.compile TGZ` reads the publisher's package and writes profiles/package/r4.json.gz; equal input gives an equal text.
Keeps structure, cardinality, types, targets, required bindings with their codes, and the keys of invariants; no definitions, no
displays, no examples. Refuses a package that is not FHIR 4.0.1.
"""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from profiles.expand import Expander

FACTS_FILE: Final = Path(__file__).parent / "package" / "r4.json.gz"
_PACKAGE: Final = "hl7.fhir.r4.core"
_VERSION: Final = "4.0.1"
_FHIR_TYPE: Final = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_REGEX: Final = "http://hl7.org/fhir/StructureDefinition/regex"
_SIMPLE_QUANTITY: Final = "http://hl7.org/fhir/StructureDefinition/SimpleQuantity"
# ele-1 and ext-1 stand on every element; the engine holds them by itself.
_EVERYWHERE: Final = frozenset({"ele-1", "ext-1"})


def compile_package(tarball: Path) -> dict[str, Any]:
    """Facts of the FHIR R4 core package: {"version", "types", "primitives", "sets", "unexpanded"}.

    Raises ValueError for any other package.
    """
    resources = list(_definitions(tarball))
    by_url = {kind: {r["url"]: r for r in resources if r["resourceType"] == kind} for kind in ("CodeSystem", "ValueSet")}
    expander = Expander(by_url["CodeSystem"], by_url["ValueSet"])
    types: dict[str, Any] = {}
    primitives: dict[str, Any] = {}
    for definition in resources:
        if definition["resourceType"] != "StructureDefinition" or not _is_base(definition):
            continue
        if definition["kind"] == "primitive-type":
            primitives[definition["id"]] = _primitive(definition)
        else:
            _add_type(definition, types)
    bound = {e["binding"] for held in types.values() for e in held["elements"].values() if "binding" in e}
    expanded = {url: expander.expand(url) for url in sorted(bound)}
    return {
        "version": _VERSION,
        "types": types,
        "primitives": primitives,
        "sets": {url: {s: sorted(found) for s, found in codes.items()} for url, codes in expanded.items() if codes},
        "unexpanded": [url for url, codes in expanded.items() if not codes],
    }


def facts_text(facts: dict[str, Any]) -> bytes:
    """The one text of these facts; comparing it shows drift."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def write_facts(facts: dict[str, Any], target: Path) -> None:
    """Write facts compressed; no time stamp, so that equal facts make an equal file."""
    target.write_bytes(gzip.compress(facts_text(facts), compresslevel=9, mtime=0))


def _definitions(tarball: Path) -> Iterable[dict[str, Any]]:
    with tarfile.open(tarball) as archive:
        described = archive.extractfile("package/package.json")
        about = json.load(described) if described is not None else {}
        if (about.get("name"), about.get("version")) != (_PACKAGE, _VERSION):
            raise ValueError(f"not the package {_PACKAGE} {_VERSION}")
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            name = member.name.rpartition("/")[2]
            if member.isfile() and name.startswith(("StructureDefinition-", "ValueSet-", "CodeSystem-")):
                handle = archive.extractfile(member)
                if handle is not None:
                    yield json.load(handle)


def _is_base(definition: dict[str, Any]) -> bool:
    if definition["url"] == _SIMPLE_QUANTITY:
        return True  # a profile by form, a data type by use: elements name it as their type
    return definition["kind"] in ("resource", "complex-type", "primitive-type") and definition.get("derivation") != "constraint"


def _primitive(definition: dict[str, Any]) -> dict[str, Any]:
    value = next(e for e in definition["snapshot"]["element"] if e["path"].endswith(".value"))
    regex = [x["valueString"] for t in value["type"] for x in t.get("extension", []) if x["url"] == _REGEX]
    return {"base": definition["baseDefinition"].rpartition("/")[2], **({"regex": regex[0]} if regex else {})}


def _add_type(definition: dict[str, Any], types: dict[str, Any]) -> None:
    name = definition["id"]
    elements = definition["snapshot"]["element"]
    root = elements[0]["path"]
    inner = {e["path"] for e in elements}
    parents = {path.rpartition(".")[0] for path in inner} - {""}
    for element in elements:
        path = element["path"]
        if path in parents or path == root:
            held = types.setdefault(name + path.removeprefix(root), {"elements": {}})
            if rules := _rules(element):
                held["rules"] = rules
            if path == root:
                held["kind"] = definition["kind"]
                if definition["abstract"]:
                    held["abstract"] = True
        if path != root and element["max"] != "0":
            parent, _, last = path.rpartition(".")
            types[name + parent.removeprefix(root)]["elements"][last] = _element(element, name, path in parents)


def _element(element: dict[str, Any], name: str, has_children: bool) -> dict[str, Any]:
    fact: dict[str, Any] = {}
    if element["min"]:
        fact["min"] = element["min"]
    if element["max"] != "1":
        fact["max"] = element["max"]
    if "contentReference" in element:
        fact["like"] = element["contentReference"].partition("#")[2]
    elif has_children:
        fact["like"] = name + element["path"].removeprefix(element["path"].partition(".")[0])
    else:
        fact["types"] = [_type(t) for t in element["type"]]
        binding = element.get("binding", {})
        if binding.get("strength") == "required" and "valueSet" in binding:
            fact["binding"] = binding["valueSet"].partition("|")[0]
        if rules := _rules(element):
            fact["rules"] = rules
    return fact


def _type(declared: dict[str, Any]) -> str | dict[str, list[str]]:
    """A type code, or {"Reference" | "canonical": [target types]} where targets are narrowed."""
    code = declared["code"]
    if code.startswith("http://hl7.org/fhirpath/"):
        code = next(x["valueUrl"] for x in declared["extension"] if x["url"] == _FHIR_TYPE)
    if _SIMPLE_QUANTITY in declared.get("profile", []):
        return "SimpleQuantity"
    targets = [url.rpartition("/")[2] for url in declared.get("targetProfile", [])]
    return {code: targets} if targets and "Resource" not in targets else code


def _rules(element: dict[str, Any]) -> list[str]:
    return [c["key"] for c in element.get("constraint", []) if c["key"] not in _EVERYWHERE and c["severity"] == "error"]


def main(arguments: list[str]) -> int:
    """Compile the package named on the command line."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m profiles.compile hl7.fhir.r4.core-4.0.1.tgz\n")
        return 2
    facts = compile_package(Path(arguments[0]))
    write_facts(facts, FACTS_FILE)
    sys.stderr.write(f"{FACTS_FILE}: {len(facts['types'])} types, {len(facts['sets'])} code sets, not expanded: {facts['unexpanded']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
