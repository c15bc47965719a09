"""What of a permitted resource is shown: cut to its keep-list, without references to what the reader may not know of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from gateway.access.decision import Permit
from gateway.access.index import local_target
from gateway.access.keep import cut_to
from gateway.access.records.facts import body_of
from gateway.store.resources import Stored
from profiles.strict_json import to_json

# The same for a hidden resource and for one that never was, so that it tells nothing of either (R4 data-absent-reason).
ABSENT: Final = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def targets_in(value: Any) -> Iterator[str]:
    """Every "Type/id" a resource refers to."""
    if isinstance(value, dict):
        target = local_target(value.get("reference"))
        if target is not None:
            yield target
        for child in value.values():
            yield from targets_in(child)
    elif isinstance(value, list):
        for child in value:
            yield from targets_in(child)


def ids_in(resources: Iterable[Stored]) -> set[str]:
    """Ids of all resources these refer to."""
    return {target.partition("/")[2] for stored in resources for target in targets_in(body_of(stored))}


def kept(stored: Stored, permit: Permit, known_ids: Iterable[str]) -> dict[str, Any] | None:
    """What the permit keeps of a resource, with references to unknown ids replaced; None where it keeps nothing.

    known_ids: ids of the resources the reader may know of.
    """
    left = cut_to(permit.keep, body_of(stored)) if permit.keep is not None else None
    return None if left is None else _without_unknown(left, frozenset(known_ids))


def shown(stored: Stored, left: dict[str, Any]) -> bytes:
    """The bytes that leave: those stored, wherever nothing was cut."""
    return stored.body.encode() if left == body_of(stored) else to_json(left)


def _without_unknown(value: Any, known_ids: frozenset[str]) -> Any:
    if isinstance(value, dict):
        target = local_target(value.get("reference"))
        if target is not None and target.partition("/")[2] not in known_ids:
            return dict(ABSENT)
        return {name: _without_unknown(child, known_ids) for name, child in value.items()}
    if isinstance(value, list):
        return [_without_unknown(child, known_ids) for child in value]
    return value


def patients_of(resources: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The Patients these resources are about, for the audit row."""
    found = {f"Patient/{resource['id']}" for resource in resources if resource.get("resourceType") == "Patient"}
    for resource in resources:
        for name in ("subject", "patient", "for"):
            value = resource.get(name)
            target = local_target(value.get("reference")) if isinstance(value, dict) else None
            if target is not None and target.startswith("Patient/"):
                found.add(target)
    return tuple(sorted(found))
