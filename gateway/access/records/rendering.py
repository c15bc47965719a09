"""What of a permitted resource is shown: cut to its keep-list, without references to what the reader may not know of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from gateway.access.decision import Permit
from gateway.access.index import local_target
from gateway.access.keep import cut_to
from gateway.store.resources import Stored
from profiles.strict_json import to_json

# The same for a hidden resource and for one that never was, so that it tells nothing of either (R4 data-absent-reason).
ABSENT: Final = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def targets_in(resource: Mapping[str, Any]) -> set[str]:
    """Ids of all resources a resource refers to."""
    found: set[str] = set()
    pending: list[Any] = [resource]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            target = local_target(node["reference"]) if "reference" in node else None
            if target is not None:
                found.add(target.partition("/")[2])
            pending += [child for child in node.values() if isinstance(child, (dict, list))]
        else:
            pending += [child for child in node if isinstance(child, (dict, list))]
    return found


def kept(resource: dict[str, Any], permit: Permit, targets: Set[str], known_ids: Set[str]) -> dict[str, Any] | None:
    """What the permit keeps of a resource, with references to unknown ids replaced; None where it keeps nothing. Not to be changed.

    targets: what `targets_in` finds in the resource. known_ids: ids of the resources the reader may know of.
    """
    left = cut_to(permit.keep, resource) if permit.keep is not None else None
    if left is None or (targets if left is resource else targets_in(left)) <= known_ids:
        return left
    changed: dict[str, Any] = _without_unknown(left, known_ids)
    return changed


def shown(stored: Stored, resource: dict[str, Any], left: dict[str, Any]) -> bytes:
    """The bytes that leave: those stored, wherever nothing was cut. resource: the row's, as read."""
    return stored.body.encode() if left == resource else to_json(left)


def _without_unknown(value: Any, known_ids: Set[str]) -> Any:
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
