"""The stand-in EHR's record: takes transactions with conditional create and update, all or nothing, in memory.

It matches by identifier only, as most servers of this kind do. Source: FHIR R4 http.html#transaction, #ccreate, #cond-update.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from conformance.standins.server import now_text

_STATUS_TEXT: Final = {200: "200 OK", 201: "201 Created"}
_SEPARATOR: Final = re.compile(r"(?<!\\)\|")
_ESCAPED: Final = re.compile(r"\\([\\|$,])")
_NAME: Final = re.compile(r"[A-Z][A-Za-z]+\Z")
Resource = dict[str, Any]


class NotTaken(Exception):
    """The transaction fails as a whole. status: HTTP; code: issue-type."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status, self.code, self.text = status, code, text
        super().__init__(text)


@dataclass(slots=True)
class _Planned:
    """What one entry will do. resource is None when conditional create found it here already."""

    kind: str
    id: str
    status: int
    resource: Resource | None


class FhirStore:
    """Resources by type and id. conditional_create: asked each time; while it says no, ifNoneExist is ignored."""

    def __init__(self, conditional_create: Callable[[], bool]) -> None:
        self._conditional_create = conditional_create
        self._held: dict[tuple[str, str], Resource] = {}
        self._lock = threading.Lock()

    def transaction(self, bundle: Any) -> Resource:
        """Carry out a transaction Bundle and give its transaction-response. Raises NotTaken and then nothing is kept."""
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
            raise NotTaken(400, "structure", "Only a transaction Bundle is taken here.")
        entries = bundle.get("entry") or []
        with self._lock:
            planned = [self._plan(entry) for entry in entries]
            addresses = {
                entry["fullUrl"]: f"{plan.kind}/{plan.id}" for entry, plan in zip(entries, planned, strict=True) if "fullUrl" in entry
            }
            answers = [self._carry_out(plan, addresses) for plan in planned]
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def find(self, kind: str, id: str) -> Resource | None:  # noqa: A002 (the resource's own word)
        """One resource, or None."""
        with self._lock:
            return self._held.get((kind, id))

    def search(self, kind: str, criterion: str = "") -> list[Resource]:
        """Resources of one type, by `identifier=system|value` or all of them."""
        with self._lock:
            return self._matches(kind, criterion) if criterion else [held for (type_, _), held in self._held.items() if type_ == kind]

    def counts(self) -> dict[str, int]:
        """How many of each type are held."""
        with self._lock:
            kinds = [kind for kind, _ in self._held]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def _plan(self, entry: Any) -> _Planned:
        request = entry.get("request") if isinstance(entry, dict) else None
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(request, dict) or not isinstance(resource, dict):
            raise NotTaken(400, "structure", "An entry needs a resource and a request.")
        kind, _, criterion = str(request.get("url", "")).partition("?")
        method = request.get("method")
        if not _NAME.match(kind.partition("/")[0]) or resource.get("resourceType") != kind.partition("/")[0]:
            raise NotTaken(400, "invalid", "The entry's address and its resource are of different types.")
        if method == "POST":
            wanted = str(request.get("ifNoneExist", "")) if self._conditional_create() else ""
            return self._plan_create(kind, wanted, resource)
        if method == "PUT" and criterion:
            found = self._one(kind, criterion)
            return _Planned(kind, found or str(uuid4()), 200 if found else 201, resource)
        if method == "PUT" and "/" in kind:
            kind, _, id_ = kind.partition("/")
            return _Planned(kind, id_, 200 if (kind, id_) in self._held else 201, resource)
        raise NotTaken(405, "not-supported", "Only POST and PUT are taken in a transaction here.")

    def _plan_create(self, kind: str, criterion: str, resource: Resource) -> _Planned:
        found = self._one(kind, criterion) if criterion else None
        if found:
            return _Planned(kind, found, 200, None)
        return _Planned(kind, str(uuid4()), 201, resource)

    def _carry_out(self, plan: _Planned, addresses: dict[str, str]) -> Resource:
        key = (plan.kind, plan.id)
        if plan.resource is not None:
            version = int(self._held[key]["meta"]["versionId"]) + 1 if key in self._held else 1
            meta = {**plan.resource.get("meta", {}), "versionId": str(version), "lastUpdated": now_text()}
            self._held[key] = {**_pointed(plan.resource, addresses), "id": plan.id, "meta": meta}
        held = self._held[key]
        version_id = held["meta"]["versionId"]
        return {
            "response": {
                "status": _STATUS_TEXT[plan.status],
                "location": f"{plan.kind}/{plan.id}/_history/{version_id}",
                "etag": f'W/"{version_id}"',
                "lastModified": held["meta"]["lastUpdated"],
            }
        }

    def _one(self, kind: str, criterion: str) -> str | None:
        found = self._matches(kind, criterion)
        if len(found) > 1:
            raise NotTaken(412, "multiple-matches", "Several resources match the criterion.")
        return str(found[0]["id"]) if found else None

    def _matches(self, kind: str, criterion: str) -> list[Resource]:
        parameters = parse_qsl(criterion, keep_blank_values=True)
        if len(parameters) != 1 or parameters[0][0] != "identifier":
            raise NotTaken(400, "not-supported", "Only identifier=system|value is matched here.")
        parts = [_ESCAPED.sub(r"\1", part) for part in _SEPARATOR.split(parameters[0][1])]
        if len(parts) != 2:
            raise NotTaken(400, "not-supported", "Only identifier=system|value is matched here.")
        return [held for (type_, _), held in self._held.items() if type_ == kind and tuple(parts) in _identifiers(held)]


def _identifiers(resource: Resource) -> set[tuple[Any, Any]]:
    """System and value of each identifier; QuestionnaireResponse has one, the others a list."""
    held = resource.get("identifier") or []
    return {(item.get("system"), item.get("value")) for item in (held if isinstance(held, list) else [held])}


def _pointed(value: Any, addresses: dict[str, str]) -> Any:
    """References to entries of the Bundle become references to what was stored for them."""
    if isinstance(value, dict):
        pointed = {name: _pointed(child, addresses) for name, child in value.items()}
        if isinstance(value.get("reference"), str):
            pointed["reference"] = addresses.get(value["reference"], value["reference"])
        return pointed
    return [_pointed(item, addresses) for item in value] if isinstance(value, list) else value
