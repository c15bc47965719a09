"""References: their form, what they point at inside the resource or Bundle, and the types they may have.

Nothing is fetched: a reference to another server is judged by what its address says. Canonical addresses are judged only where they
point inside ("#id"). Source: https://hl7.org/fhir/R4/references.html, invariant ref-1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from profiles.reading import text
from profiles.run import Run

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:", re.ASCII)
_ENDS_LIKE_REST: Final = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII)
_RELATIVE: Final = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.+)?", re.ASCII)
_BY_SEARCH: Final = re.compile(r"([A-Z][A-Za-z]+)\?\S+", re.ASCII)
_TYPE_URL: Final = "http://hl7.org/fhir/StructureDefinition/"


def reference_rule(resource_types: frozenset[str]) -> Callable[[dict[str, Any], str, Run], None]:
    """The check every Reference passes, whatever it may point at: form, ref-1, resolution in a Bundle, agreement with its type."""

    def check(node: dict[str, Any], path: str, run: Run) -> None:
        address = text(node, "reference")
        named = _named_type(node)
        if named and named not in resource_types and not _SCHEME.match(text(node, "type")):
            run.add("value", f"{path}.type", "The type is not a resource type of R4.")
        if not address:
            return
        if address[0] == "#":
            _check_inside(address[1:], path, run)
        elif address[:4] == "urn:":
            if run.entries is not None and run.entries.is_whole and address.partition("#")[0] not in run.entries.types:
                run.add("value", f"{path}.reference", "No entry of the Bundle has this fullUrl.")
        elif not _SCHEME.match(address) and not _is_relative(address, resource_types, run):
            run.add("value", f"{path}.reference", "A relative reference is [type]/[id], of a resource type of R4.")
        found = _target(address, run)
        if named in resource_types and found in resource_types and named != found:
            run.add("value", f"{path}.type", "The type is another than the reference's.")

    return check


def target_rule(targets: frozenset[str], resource_types: frozenset[str]) -> Callable[[Any, str, Run], None]:
    """The check of one element: its reference points at one of `targets`, as far as address, type or Bundle can tell."""

    def check(node: Any, path: str, run: Run) -> None:
        if not isinstance(node, dict):
            return
        found = _target(text(node, "reference"), run)
        if found in resource_types:
            if found not in targets:
                run.add("value", f"{path}.reference", "The reference points at a type that may not stand here.")
            return
        named = _named_type(node)
        if named in resource_types and named not in targets:
            run.add("value", f"{path}.type", "The type may not stand here.")

    return check


def _named_type(node: dict[str, Any]) -> str:
    return text(node, "type").removeprefix(_TYPE_URL)


def _check_inside(key: str, path: str, run: Run) -> None:
    run.scope.pointed_at.add(key)
    # "#" alone is the resource that contains this one.
    if key and key not in run.scope.contained:
        run.add("invariant", f"{path}.reference", "ref-1: No contained resource has this id.")


def _is_relative(address: str, resource_types: frozenset[str], run: Run) -> bool:
    by_search = _BY_SEARCH.fullmatch(address) if run.entries is not None and run.entries.conditional else None
    found = by_search or _RELATIVE.fullmatch(address)
    return found is not None and found[1] in resource_types


def _target(address: str, run: Run) -> str:
    """The type an address points at; "" when it cannot be told."""
    if not address:
        return ""
    if address[0] == "#":
        return run.scope.contained.get(address[1:], "") if len(address) > 1 else text(run.scope.resource, "resourceType")
    if run.entries is not None and address in run.entries.types:
        return run.entries.types[address]
    if address[:4] == "urn:":
        return ""
    found = _ENDS_LIKE_REST.fullmatch(address.partition("#")[0]) or _BY_SEARCH.fullmatch(address)
    return found[1] if found else ""
