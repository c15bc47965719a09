"""Which records are one person's: questions over resources, their memberships and their index, each one statement.

A person of a referral is its Patients, their origins and every copy of those, in all domains; their referrals are all those any
of these belongs to. Only `gateway.access.records` imports this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import false, func, literal_column, select, union

from gateway.store.database import Unit
from gateway.store.resources import STORED_COLUMNS, ResourceReferralRow, ResourceRow, Stored
from gateway.store.search import SearchReferenceRow
from gateway.store.statements import Statement, one_of

_RESOURCE: Final[Any] = ResourceRow.__table__  # type: ignore[attr-defined]
_MEMBER: Final[Any] = ResourceReferralRow.__table__  # type: ignore[attr-defined]
_REFERENCE: Final[Any] = SearchReferenceRow.__table__  # type: ignore[attr-defined]


def _patients(dialect: str) -> Any:
    """(asked referral, Patient id): the Patients of a referral, their origins, and every copy of those."""
    roots = (
        select(_MEMBER.c.referral.label("asked"), func.coalesce(_RESOURCE.c.origin_id, _RESOURCE.c.id).label("id"))
        .select_from(_MEMBER.join(_RESOURCE, _RESOURCE.c.id == _MEMBER.c.resource))
        .where(one_of(_MEMBER.c.referral, "ids", dialect), _MEMBER.c.type == literal_column("'Patient'"))
        .cte("roots")
    )
    copies = select(roots.c.asked, _RESOURCE.c.id).select_from(roots.join(_RESOURCE, _RESOURCE.c.origin_id == roots.c.id))
    return union(select(roots.c.asked, roots.c.id), copies).cte("patients")


def _linked(dialect: str) -> Any:
    """(asked referral, referral): itself and every other one of its person."""
    patients = _patients(dialect)
    others = select(patients.c.asked, _MEMBER.c.referral.label("id")).select_from(
        patients.join(_MEMBER, _MEMBER.c.resource == patients.c.id)
    )
    itself = select(_MEMBER.c.referral.label("asked"), _MEMBER.c.referral.label("id")).where(one_of(_MEMBER.c.referral, "ids", dialect))
    return union(others, itself).cte("linked"), patients


def _linked_referrals(dialect: str) -> Any:
    linked, _ = _linked(dialect)
    return select(linked.c.id).distinct().order_by(linked.c.id)


def _linked_consents(dialect: str) -> Any:
    linked, patients = _linked(dialect)
    target = literal_column("'Patient/'").concat(patients.c.id)
    about = select(patients.c.asked, _REFERENCE.c.resource.label("id")).select_from(
        patients.join(_REFERENCE, _REFERENCE.c.target == target)
    )
    by_patient = about.where(_REFERENCE.c.type == literal_column("'Consent'"), _REFERENCE.c.param == literal_column("'patient'"))
    by_referral = (
        select(linked.c.asked, _MEMBER.c.resource.label("id"))
        .select_from(linked.join(_MEMBER, _MEMBER.c.referral == linked.c.id))
        .where(_MEMBER.c.type == literal_column("'Consent'"))
    )
    consents = union(by_patient, by_referral).cte("consents")
    return (
        select(consents.c.asked, *STORED_COLUMNS)
        .select_from(consents.join(_RESOURCE, _RESOURCE.c.id == consents.c.id))
        .where(_RESOURCE.c.deleted == false())
        .order_by(_RESOURCE.c.id)
    )


_LINKED_REFERRALS: Final = Statement(_linked_referrals)
_LINKED_CONSENTS: Final = Statement(_linked_consents)


def linked_referrals(unit: Unit, referrals: Iterable[str]) -> list[str]:
    """Every referral of the person of these referrals, these included, in order of their ids."""
    wanted = sorted(set(referrals))
    return sorted({*wanted, *_LINKED_REFERRALS.scalars(unit, {"ids": wanted})})


def linked_consents(unit: Unit, referrals: Iterable[str]) -> dict[str, list[Stored]]:
    """For each of these referrals every Consent of its person, ordered by id."""
    found: dict[str, list[Stored]] = {referral: [] for referral in sorted(set(referrals))}
    for asked, *row in _LINKED_CONSENTS.all(unit, {"ids": list(found)}):
        found[asked].append(Stored(*row))
    return found
