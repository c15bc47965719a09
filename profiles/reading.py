"""Looks into JSON that may have any shape: each answers with an empty value instead of raising."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def has(node: dict[str, Any], name: str) -> bool:
    """Whether an element is there, with a value or with extensions only."""
    return node.get(name) is not None or node.get("_" + name) is not None


def has_choice(node: dict[str, Any], stem: str) -> bool:
    """Whether any type of a choice element such as value[x] is there."""
    size = len(stem)
    return any(key[key[:1] == "_" :].startswith(stem) and key[-1:] != "_" and len(key) > size for key in node)


def text(node: dict[str, Any], name: str) -> str:
    """A string, else ""."""
    value = node.get(name)
    return value if isinstance(value, str) else ""


def child(node: dict[str, Any], name: str) -> dict[str, Any]:
    """An object, else {}."""
    value = node.get(name)
    return value if isinstance(value, dict) else {}


def children(node: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of an array, else []."""
    value = node.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def count(node: dict[str, Any], name: str) -> int:
    """The length of an array, else 0."""
    value = node.get(name)
    return len(value) if isinstance(value, list) else 0


def number(node: dict[str, Any], name: str) -> Decimal | None:
    """A finite number, else None."""
    value = node.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    made = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    return made if made.is_finite() else None


def codings(node: dict[str, Any], name: str) -> set[tuple[str, str]]:
    """(system, code) of a CodeableConcept element."""
    return {(text(coding, "system"), text(coding, "code")) for coding in children(child(node, name), "coding")}
