"""Keep-lists: what a recipient may have of a resource. Everything not listed is cut.

A path is element names joined by dots; the last keeps what is below it. `identifier[system=a|b]` keeps only the entries whose
`system` is one of these. A list that does not name a resource type keeps nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from gateway.access.policy import keep_documents

_STEP: Final = re.compile(r"([A-Za-z]+)(?:\[([A-Za-z]+)=([^\]]+)\])?(?:\.|$)")


@dataclass(slots=True)
class _Node:
    """What is kept at one place: all of it, or some children; each child may be filtered by one of its own elements."""

    whole: bool = False
    children: dict[str, _Node] = field(default_factory=dict)
    where: tuple[str, frozenset[str]] | None = None


def _compile(paths: Iterable[str]) -> _Node:
    root = _Node()
    for path in paths:
        node, place = root, 0
        while place < len(path):
            step = _STEP.match(path, place)
            if step is None:
                raise ValueError(f"keep-list path {path!r} cannot be read")
            node = node.children.setdefault(step[1], _Node())
            if step[2]:
                node.where = (step[2], frozenset(step[3].split("|")))
            place = step.end()
        node.whole = True
    return root


@cache
def _compiled(name: str, resource_type: str) -> _Node | None:
    paths = keep_documents()[name].get(resource_type)
    return None if paths is None else _compile(paths)


def cut_to(name: str, resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the keep-list `name` leaves of a resource; None where it keeps nothing of the type.

    What is left shares its parts with the resource, and is the resource itself where nothing was cut: nobody may change it.
    A resource with a modifierExtension or implicitRules is kept whole or not at all: cutting either would change what the rest
    means (R4 extensibility, 2.4.1), and the lists name none.
    """
    resource_type = str(resource.get("resourceType"))
    node = _compiled(name, resource_type)
    if node is None or "implicitRules" in resource or has_modifier(resource):
        return None
    kept = {name: resource[name] for name in ("resourceType", "id") if name in resource} | _cut(resource, node)
    return resource if len(kept) == len(resource) and all(kept[name] is resource[name] for name in kept) else kept  # type: ignore[return-value]


def modifier_places(resource: Mapping[str, Any]) -> list[str]:
    """The elements of a resource with a modifierExtension or implicitRules, as FHIRPath: no keep-list could cut what has one."""
    resource_type = str(resource.get("resourceType"))
    found = [f"{resource_type}.{name}" for name in ("implicitRules", "modifierExtension") if name in resource]
    for name, value in resource.items():
        places = [(f"[{number}]", entry) for number, entry in enumerate(value)] if isinstance(value, list) else [("", value)]
        if name != "modifierExtension":
            found += [
                f"{resource_type}.{name}{place}" for place, entry in places if isinstance(entry, (dict, list)) and has_modifier(entry)
            ]
    return found


def has_modifier(value: dict[str, Any] | list[Any] | Mapping[str, Any]) -> bool:
    """Whether JSON has a modifierExtension anywhere."""
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "modifierExtension" in node:
                return True
            stack += [child for child in node.values() if isinstance(child, (dict, list))]
        else:
            stack += [child for child in node if isinstance(child, (dict, list))]
    return False


def _cut(element: Mapping[str, Any], node: _Node) -> dict[str, Any]:
    kept = {}
    for name, value in element.items():
        child = node.children.get(name.removeprefix("_"))
        left = None if child is None else _cut_value(value, child)
        if left is not None and left not in ({}, []):
            kept[name] = left
    return kept


def _cut_value(value: Any, node: _Node) -> Any:
    if node.whole and node.where is None:
        return value  # with the nulls that hold the places of primitive extensions
    if isinstance(value, list):
        return [left for left in (_cut_value(entry, node) for entry in value) if left is not None and left != {}]
    if node.where is not None:
        name, wanted = node.where
        if not isinstance(value, dict) or value.get(name) not in wanted:
            return None
    if node.whole:
        return value
    return _cut(value, node) if isinstance(value, dict) else None
