"""Writing and reading a referral's responsibility ledger inside a unit of work.

Every move starts with `lock`, which serialises all who would move the same referral; the rules are responsibility.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.errors import NotFound
from gateway.referral.protocol import Protocol
from gateway.referral.responsibility import Entry, Standing, next_entry, standing_of, verify
from gateway.store import ledger as store
from gateway.store.database import Unit


@dataclass(slots=True)
class LockedLedger:
    """A referral's ledger whose head this unit holds; `standing` follows each appended entry."""

    referral: str
    protocol: Protocol
    standing: Standing


def _entry(content: Mapping[str, Any]) -> Entry:
    return Entry(**{**content, "labels": tuple(content["labels"])})


def read_entries(unit: Unit, referral_id: str) -> list[Entry]:
    """All entries in order."""
    return [_entry(content) for content in store.entries_of(unit, referral_id)]


def open_ledger(unit: Unit, referral_id: str, protocol: Protocol, *, sender: str, actor: str) -> LockedLedger:
    """Start the ledger of a new referral: the sender holds it from the first entry."""
    store.open_ledger(unit, referral_id, sender)
    ledger = LockedLedger(referral_id, protocol, Standing())
    append(unit, ledger, "enter", from_organization=sender, to_organization=sender, actor=actor, authority="intake")
    return ledger


def lock(unit: Unit, referral_id: str, protocol: Protocol) -> LockedLedger:
    """Take the referral's lock and read who holds it.

    Raises NotFound for an unknown referral, ResponsibilityBroken when the stored ledger is not sound.
    """
    if not store.lock_head(unit, referral_id):
        raise NotFound
    return LockedLedger(referral_id, protocol, standing_of(read_entries(unit, referral_id), protocol.fallback_owner))


def append(
    unit: Unit,
    ledger: LockedLedger,
    kind: str,
    *,
    from_organization: str,
    to_organization: str,
    actor: str,
    authority: str,
    offer: str = "",
    outcome: str = "",
    shared_sha256: str = "",
    labels: tuple[str, ...] = (),
) -> Entry:
    """Append one entry. Raises ResponsibilityBroken, with which the whole unit must fail."""
    entry = next_entry(
        ledger.standing,
        ledger.protocol.fallback_owner,
        {
            "referral": ledger.referral,
            "kind": kind,
            "from_organization": from_organization,
            "to_organization": to_organization,
            "actor": actor,
            "authority": authority,
            "protocol": ledger.protocol.reference,
            "at": unit.now.isoformat(timespec="microseconds"),
            "offer": offer,
            "outcome": outcome,
            "shared_sha256": shared_sha256,
            "labels": labels,
        },
    )
    holder = ledger.standing.holder or to_organization
    store.add_entry(unit, ledger.referral, entry.sequence, entry.as_dict(), holder=holder, closed=ledger.standing.closed)
    return entry


def verify_all(unit: Unit, protocols: Mapping[str, Protocol]) -> dict[str, list[str]]:
    """Check every ledger of the store; the answer holds only referrals with a fault.

    protocols: by their reference, name and version.
    """
    found: dict[str, list[str]] = {}
    for referral_id in store.ledgers(unit):
        entries = read_entries(unit, referral_id)
        known = {entry.protocol for entry in entries} & set(protocols)
        fallback = protocols[min(known)].fallback_owner if known else ""
        faults = verify(entries, fallback)
        if faults:
            found[referral_id] = faults
    return found
