"""One validation: its findings, its limits, and what the elements need to know of the resource around them."""

from __future__ import annotations

from typing import Any, Final

from profiles.issues import Issue

# A resource of the largest body taken in holds fewer objects; a report longer than this helps nobody.
MAX_OBJECTS: Final = 200_000
MAX_DEPTH: Final = 100
MAX_ISSUES: Final = 200


class Enough(Exception):
    """A limit is reached: the rest is not looked at."""


class Scope:
    """A resource that stands by itself: the root, an entry of a Bundle, a parameter.

    contained: id -> type of its contained resources. pointed_at: ids named by "#id" anywhere inside.
    """

    __slots__ = ("contained", "pointed_at", "resource")

    def __init__(self, resource: dict[str, Any]) -> None:
        self.resource = resource
        self.pointed_at: set[str] = set()
        self.contained: dict[str, str] = {}
        held = resource.get("contained")
        for inner in held if isinstance(held, list) else ():
            if isinstance(inner, dict):
                key, kind = inner.get("id"), inner.get("resourceType")
                if isinstance(key, str):
                    self.contained[key] = kind if isinstance(kind, str) else ""


class Entries:
    """What a Bundle offers to the references inside its entries.

    types: fullUrl -> type of the entry's resource. conditional: references by search are allowed (transaction and batch).
    is_whole: a urn: reference must resolve in here, since nobody else could know it.
    """

    __slots__ = ("conditional", "is_whole", "types")

    def __init__(self, bundle: dict[str, Any]) -> None:
        self.conditional = bundle.get("type") in ("transaction", "batch")
        self.is_whole = bundle.get("type") in ("transaction", "document", "message")
        self.types: dict[str, str] = {}
        listed = bundle.get("entry")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("fullUrl"), str):
                resource = entry.get("resource")
                kind = resource.get("resourceType") if isinstance(resource, dict) else None
                self.types[entry["fullUrl"]] = kind if isinstance(kind, str) else ""


class Run:
    """Collects issues; `add` is the only way in, so that the limits hold."""

    __slots__ = ("depth", "entries", "inside_contained", "issues", "objects", "scope")

    def __init__(self, resource: dict[str, Any]) -> None:
        self.issues: list[Issue] = []
        self.scope = Scope(resource)
        self.entries: Entries | None = None
        self.inside_contained = False
        self.objects = 0
        self.depth = 0

    def add(self, code: str, path: str, text: str) -> None:
        """Note a fault at a FHIRPath; raises Enough when the list is full."""
        self.issues.append(Issue("error", code, text, (path,) if path else ()))
        if len(self.issues) >= MAX_ISSUES:
            self.issues.append(Issue("error", "too-costly", "There are more faults; the rest was not looked at."))
            raise Enough

    def enter(self, path: str) -> None:
        """Count an object; raises Enough when there are too many or they are too deep."""
        self.objects += 1
        self.depth += 1
        if self.depth > MAX_DEPTH or self.objects > MAX_OBJECTS:
            self.issues.append(Issue("error", "too-costly", "The resource is nested too deeply or has too many parts.", (path[:500],)))
            raise Enough
