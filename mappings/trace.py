"""What one run of a mapping remembers: trace rows, source pointers read, faults, and where each target element stands."""

from __future__ import annotations

from typing import Any

from mappings.model import MapIssue, TraceRow


class Run:
    """The state of mapping one message; made for one call and thrown away."""

    __slots__ = ("issues", "message", "read", "rows")

    def __init__(self, message: Any) -> None:
        self.message = message
        self.rows: list[TraceRow] = []
        self.read: set[str] = set()
        self.issues: list[MapIssue] = []


class Scope:
    """The element that a group's rules fill.

    node: the element. path: its indexed target path with the local name before it.
    item, pointer: the current source item and its JSON pointer.
    places: target chain → (element, path), so that "name[0].given" and "name[0].family" meet in one HumanName.
    """

    __slots__ = ("item", "node", "path", "places", "pointer")

    def __init__(self, node: dict[str, Any], path: str, item: Any, pointer: str) -> None:
        self.node = node
        self.path = path
        self.item = item
        self.pointer = pointer
        self.places: dict[str, tuple[dict[str, Any], str]] = {}
