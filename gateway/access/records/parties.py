"""Who is party to a referral, and whose directory entry they read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.access.disclosed import Held
from gateway.access.records.facts import ADDRESSEE, DIRECTORY, Facts
from gateway.access.records.permits import compile_ids, compile_permits
from gateway.access.records.writing import create, held_of, replace
from gateway.store.database import Unit
from gateway.store.epochs import narrow
from gateway.store.resources import find_resource, resources_of
from gateway.store.visible import add_grant, close_party, open_party
from profiles import namespace

SENDER: Final = "sender"
ORGANIZATION_IDENTIFIER: Final = namespace.identifier_system("organization")


def open_parties(unit: Unit, referral: str, organization: str) -> None:
    """Give an organisation access to what its own domain holds of a referral, as the policy permits.

    The organisation whose request it is becomes its sender, every other one an addressee. Idempotent; opens a closed one again.
    """
    role = SENDER if Facts.of(unit).sender(referral) == organization else ADDRESSEE
    open_party(unit, referral, organization, role)
    Facts.forget_parties(unit)
    compile_permits(unit, resources_of(unit, referral, organization))


def close_parties(unit: Unit, referral: str, organization: str, *, keep_task_after_close: bool = True) -> None:
    """End an organisation's access to the copies of a referral, in this transaction.

    keep_task_after_close: it keeps its own Task, cut to what says nothing of the person.
    """
    narrow(unit)
    close_party(unit, referral, organization, keeps_task=keep_task_after_close)
    Facts.forget_parties(unit)
    compile_permits(unit, resources_of(unit, referral, organization))


def publish_organization(unit: Unit, key: str, name: str, identifiers: Iterable[tuple[str, str]] = ()) -> Held:
    """Write an organisation's directory entry, `Organization/<key>`; readable by itself and by those it is granted to.

    identifiers: (system, value) pairs beside the gateway's own. A call with nothing new writes nothing.
    """
    resource: dict[str, Any] = {
        "resourceType": "Organization",
        "identifier": [{"system": system, "value": value} for system, value in ((ORGANIZATION_IDENTIFIER, key), *identifiers)],
        "active": True,
        "name": name,
    }
    stored = find_resource(unit, key)
    if stored is None:
        return create(unit, resource, domain=key, data_class=DIRECTORY, referral=None, id=key)
    held = held_of(stored)
    if {part: value for part, value in held.body.items() if part not in ("id", "meta")} == resource:
        return held
    return replace(unit, held, resource)


def grant_organization(unit: Unit, organization_key: str, to: str) -> None:
    """Let one organisation read another's directory entry, because they share a referral."""
    if add_grant(unit, organization_key, to):
        Facts.forget_parties(unit)
        compile_ids(unit, [organization_key])
