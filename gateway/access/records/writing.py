"""Writing and holding resources. Nothing here leaves: what it returns is `Held`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.access.consent import carried_over, ended_stays_ended
from gateway.access.disclosed import Held
from gateway.access.index import references_of, tokens_of
from gateway.access.labels import labels_of
from gateway.access.records.facts import Facts, body_of
from gateway.access.records.permits import compile_permits, compile_person
from gateway.access.records.reading import find_readable
from gateway.errors import VersionConflict
from gateway.oauth.context import Caller
from gateway.store.criteria import BASE
from gateway.store.database import Unit
from gateway.store.epochs import narrow
from gateway.store.ids import new_id
from gateway.store.people import linked_referrals
from gateway.store.resources import (
    Stored,
    VisibilityClass,
    add_to_referral,
    find_copies,
    find_resource,
    find_resources,
    insert_resources,
    keep_classes,
    referrals_of,
    resources_of,
    update_resource,
)
from gateway.store.search import Indexed, holders_of_identifier, index_resources
from gateway.store.visible import is_party
from profiles.strict_json import to_json

GATEWAY: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource that is to be stored: R4 JSON that was validated. origin: what it is a copy of. id: where it was already written."""

    resource: dict[str, Any]
    data_class: str
    origin: Held | None = None
    id: str | None = None


def create(
    unit: Unit,
    resource: dict[str, Any],
    *,
    domain: str,
    data_class: str,
    referral: str | None,
    origin: Held | None = None,
    id: str | None = None,  # noqa: A002 (FHIR's own word)
    author: str = GATEWAY,
) -> Held:
    """Store a new resource: id, meta.versionId "1" and meta.lastUpdated are set here, index rows and permits are written.

    resource: R4 JSON that was validated. domain: the organisation whose record it is. origin: what it is a copy of.
    id: where references to it were already written. author: client id, for the kept version.
    """
    return create_all(unit, [Draft(resource, data_class, origin, id)], domain=domain, referral=referral, author=author)[0]


def create_all(unit: Unit, drafts: Sequence[Draft], *, domain: str, referral: str | None, author: str = GATEWAY) -> list[Held]:
    """Store several new resources of one domain and referral, as `create` does each; returned in their order."""
    if not drafts:
        return []
    made = []
    for draft in drafts:
        origin = draft.origin
        place = _Place(domain, draft.data_class, referral, origin.id if origin else None, origin.version if origin else None)
        made.append(_stored(unit, draft.resource, draft.id if draft.id is not None else new_id(), place, version=1, author=author))
    stored = [each for each, _ in made]
    keep_classes(unit, [visibility_class for _, visibility_class in made])
    insert_resources(unit, stored)
    index_resources(unit, [_indexed(each, draft.resource) for each, draft in zip(stored, drafts, strict=True)], are_new=True)
    Facts.forget_written(unit, [each.type for each in stored])
    _judge_new(unit, stored, referral, domain)
    return [held_of(each) for each in stored]


def replace(unit: Unit, held: Held, resource: dict[str, Any], *, origin: Held | None = None, author: str = GATEWAY) -> Held:
    """Store the next version of a resource; permits are written anew.

    origin: given when a copy is renewed from a newer version of its origin. A Consent that was ended stays ended, and what its
    receiver verified falls away when its terms changed. Labels only rise. Raises VersionConflict when `held` is not current.
    """
    current = find_resource(unit, held.id)
    if current is None or current.deleted or current.version != held.version or resource.get("resourceType") != held.type:
        raise VersionConflict
    before = body_of(current)
    if held.type == "Consent":
        resource = carried_over(before, resource) if origin is not None else ended_stays_ended(before, resource)
    place = _Place(
        current.domain, current.data_class, current.referral, current.origin_id, origin.version if origin else current.origin_version
    )
    labelled = _with_labels_of(before, resource)
    stored, visibility_class = _stored(unit, labelled, held.id, place, version=current.version + 1, author=author)
    if stored.visibility_class != current.visibility_class:
        keep_classes(unit, [visibility_class])
    if not update_resource(unit, stored, former=current):
        raise VersionConflict
    index_resources(unit, [_indexed(stored, resource)])
    Facts.forget_written(unit, [stored.type])
    if held.type == "Consent":
        narrow(unit)
        compile_person(unit, referrals_of(unit, [stored.id])[stored.id])
    else:
        if stored.visibility_class != current.visibility_class:
            narrow(unit)
        compile_permits(unit, [stored])
    return held_of(stored)


def attach(unit: Unit, held: Held, referral: str) -> None:
    """Make a resource part of another referral of the same person (one Patient copy serves them all)."""
    if not add_to_referral(unit, held.id, held.type, referral):
        return
    Facts.forget(unit)
    stored = find_resource(unit, held.id)
    if stored is not None:
        compile_permits(unit, [stored])


def hold(unit: Unit, resource_type: str, id: str) -> Held | None:  # noqa: A002 (FHIR's own word)
    """A resource for the layers below the doors, whoever may see it."""
    stored = find_resource(unit, id)
    return held_of(stored) if stored is not None and stored.type == resource_type and not stored.deleted else None


def hold_copy(unit: Unit, origin_id: str, receiver: str) -> Held | None:
    """A receiver's copy of a resource."""
    return hold_copies(unit, [origin_id], receiver).get(origin_id)


def hold_each(unit: Unit, ids: Iterable[str]) -> dict[str, Held]:
    """Several resources for the layers below the doors, by id; what is unknown or deleted is left out."""
    return {stored.id: held_of(stored) for stored in find_resources(unit, list(ids)) if not stored.deleted}


def hold_copies(unit: Unit, origin_ids: Iterable[str], receiver: str) -> dict[str, Held]:
    """A receiver's copies of several resources, by the id of their origin."""
    found = find_copies(unit, origin_ids, receiver)
    return {str(stored.origin_id): held_of(stored) for stored in reversed(found) if not stored.deleted}


def hold_all(unit: Unit, referral: str, domain: str) -> list[Held]:
    """What one domain holds of a referral, oldest first."""
    return [held_of(stored) for stored in resources_of(unit, referral, domain) if not stored.deleted]


def hold_by_identifier(unit: Unit, domain: str, resource_type: str, system: str, value: str) -> Held | None:
    """The oldest resource of a domain with this identifier."""
    found = find_resources(unit, holders_of_identifier(unit, resource_type, system, value))
    return next((held_of(stored) for stored in found if stored.domain == domain and not stored.deleted), None)


def require(unit: Unit, caller: Caller, resource_type: str, id: str) -> Held:  # noqa: A002 (FHIR's own word)
    """What a caller wants to change, if it may see it. Raises NotFound alike for hidden, foreign, ended and never-existed.

    Discloses nothing and writes no audit row: `disclose_written` ends the same unit.
    """
    stored, _ = find_readable(Facts.of(unit), caller, resource_type, id)
    return held_of(stored)


def referrals_of_person(unit: Unit, held: Held) -> list[str]:
    """Every referral of the person a resource is about, in order of their ids (which is the order to lock them in)."""
    return linked_referrals(unit, referrals_of(unit, [held.id])[held.id])


def held_of(stored: Stored) -> Held:
    """The hold on a row."""
    return Held(
        stored.id,
        stored.type,
        stored.version,
        stored.last_updated,
        stored.domain,
        stored.data_class,
        stored.referral,
        stored.origin_id,
        stored.origin_version,
        body_of(stored),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a resource belongs; the same for all its versions but for the version of its origin."""

    domain: str
    data_class: str
    referral: str | None
    origin_id: str | None
    origin_version: int | None


def _stored(
    unit: Unit, resource: dict[str, Any], resource_id: str, place: _Place, *, version: int, author: str
) -> tuple[Stored, VisibilityClass]:
    given = resource.get("meta") or {}
    meta = {
        "versionId": str(version),
        "lastUpdated": unit.now.isoformat(timespec="microseconds"),
        **{name: value for name, value in given.items() if name not in ("versionId", "lastUpdated")},
    }
    rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
    body = {"resourceType": resource["resourceType"], "id": resource_id, "meta": meta, **rest}
    visibility_class = VisibilityClass(place.domain, place.data_class, "\n".join(sorted(labels_of(body))), BASE)
    stored = Stored(
        id=resource_id,
        type=resource["resourceType"],
        domain=place.domain,
        data_class=place.data_class,
        referral=place.referral,
        version=version,
        last_updated=unit.now,
        deleted=False,
        origin_id=place.origin_id,
        origin_version=place.origin_version,
        visibility_class=visibility_class.id,
        author=author,
        body=to_json(body).decode(),
    )
    return stored, visibility_class


def _indexed(stored: Stored, resource: dict[str, Any]) -> Indexed:
    return Indexed(stored.id, stored.type, tokens_of(resource), references_of(resource))


def _with_labels_of(before: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with every label it had before: labels only rise."""
    kept = labels_of(resource)
    lost = [label for label in (before.get("meta") or {}).get("security") or [] if not labels_of({"meta": {"security": [label]}}) <= kept]
    if not lost:
        return resource
    meta = resource.get("meta") or {}
    return {**resource, "meta": {**meta, "security": [*(meta.get("security") or []), *lost]}}


def _judge_new(unit: Unit, stored: Sequence[Stored], referral: str | None, domain: str) -> None:
    """Write the permits of what is new. A Consent that may refuse has all of the person judged anew, in every linked domain."""
    if referral is not None and any(_may_refuse(each) for each in stored):
        narrow(unit)
        compile_person(unit, [referral])
    elif referral is None or is_party(unit, referral, domain):  # before its domain is a party nobody may see it
        compile_permits(unit, stored)


def _may_refuse(stored: Stored) -> bool:
    own_consent = stored.type == "Consent" and stored.origin_id is None
    return own_consent and (body_of(stored).get("status") != "active" or '"deny"' in stored.body)
