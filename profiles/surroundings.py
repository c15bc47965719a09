"""Rules that need more than one object: contained resources (dom-2 to dom-5) and the identity of Bundle entries.

Source: https://hl7.org/fhir/R4/domainresource.html, https://hl7.org/fhir/R4/bundle.html#references.
"""

from __future__ import annotations

import re
from typing import Any, Final

from profiles.reading import child, has, text
from profiles.run import Run

_REST: Final = re.compile(r"https?://\S+/([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})", re.ASCII)
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+", re.ASCII)
_SINGLE_LINKS: Final = frozenset({"self", "first", "previous", "prev", "next", "last"})
# In these an entry may be something that has no identity yet, or only an answer.
_WITHOUT_IDENTITY: Final = frozenset({"transaction", "batch", "transaction-response", "batch-response"})


def check_contained(resource: dict[str, Any], path: str, run: Run) -> None:
    """dom-2 to dom-5 and distinct ids; called when the whole resource was walked, so that all pointers are known."""
    listed = resource.get("contained")
    seen: set[str] = set()
    for index, inner in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(inner, dict):
            continue
        where, key = f"{path}.contained[{index}]", text(inner, "id")
        if "contained" in inner:
            run.add("invariant", f"{where}.contained", "dom-2: A contained resource contains no other.")
        meta = child(inner, "meta")
        if has(meta, "versionId") or has(meta, "lastUpdated"):
            run.add("invariant", f"{where}.meta", "dom-4: A contained resource has no version and no time of update.")
        if has(meta, "security"):
            run.add("invariant", f"{where}.meta.security", "dom-5: A contained resource has no security label of its own.")
        if key and key in seen:
            run.add("invariant", f"{where}.id", "Two contained resources have the same id.")
        seen.add(key)
        if key not in run.scope.pointed_at and not _points_at_container(inner):
            run.add("invariant", where, "dom-3: A contained resource is pointed at from the resource, or points at it.")


def _points_at_container(tree: Any) -> bool:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("reference") == "#":
                return True
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return False


def check_search_set(bundle: dict[str, Any], path: str, run: Run) -> None:
    """What a searchset adds: each paging link once, every match with an id, outcomes that are OperationOutcomes."""
    if text(bundle, "type") != "searchset":
        return
    seen: set[str] = set()
    listed = bundle.get("link")
    for index, link in enumerate(listed if isinstance(listed, list) else ()):
        relation = text(link, "relation") if isinstance(link, dict) else ""
        if relation in seen and relation in _SINGLE_LINKS:
            run.add("value", f"{path}.link[{index}].relation", "A search set has each paging link once.")
        seen.add(relation)
    listed = bundle.get("entry")
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(entry, dict):
            continue
        resource, mode = child(entry, "resource"), text(child(entry, "search"), "mode")
        is_outcome = text(resource, "resourceType") == "OperationOutcome"
        if mode == "outcome" and resource and not is_outcome:
            run.add("value", f"{path}.entry[{index}].resource", "The outcome of a search is an OperationOutcome.")
        if resource and not is_outcome and mode != "outcome" and not has(resource, "id"):
            run.add("required", f"{path}.entry[{index}].resource.id", "What a search finds has an id.")


def check_entries(bundle: dict[str, Any], path: str, run: Run) -> None:
    """fullUrl: absolute, agreeing with the resource's type and id where it is RESTful, and present where an entry needs an identity."""
    needs_identity = text(bundle, "type") not in _WITHOUT_IDENTITY
    listed = bundle.get("entry")
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(entry, dict):
            continue
        address, resource = text(entry, "fullUrl"), child(entry, "resource")
        where = f"{path}.entry[{index}]"
        if not address:
            if needs_identity and resource and not has(entry, "fullUrl"):
                run.add("required", f"{where}.fullUrl", "Outside of transactions and batches an entry with a resource has a fullUrl.")
            continue
        if not _ABSOLUTE.fullmatch(address):
            run.add("value", f"{where}.fullUrl", "fullUrl is an absolute address.")
            continue
        rest = _REST.fullmatch(address)
        if (
            rest is not None
            and resource
            and has(resource, "id")
            and (text(resource, "resourceType"), text(resource, "id")) != rest.groups()
        ):
            run.add("invariant", f"{where}.fullUrl", "A RESTful fullUrl ends in the type and id of its resource.")
