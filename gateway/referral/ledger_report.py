"""The ledger for the operator's eyes: printed as it stands, and checked against its invariants. Every print is audited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.errors import NotFound
from gateway.referral import ledger as ledgers
from gateway.referral.protocol import PROTOCOL_OF_FORMAT, protocol_for
from gateway.referral.responsibility import Entry, verify
from gateway.store import referrals
from gateway.store.database import Database, Unit


def _line(entry: Entry) -> str:
    offer = f" offer={entry.offer}" if entry.offer else ""
    outcome = f" outcome={entry.outcome}" if entry.outcome else ""
    return (
        f"{entry.sequence:>3}  {entry.at[:23]}Z  {entry.kind:<14} {entry.from_organization} → {entry.to_organization}"
        f"  by {entry.actor} ({entry.authority}){offer}{outcome}  {entry.hash[:12]}"
    )


def _lines(entries: Sequence[Entry], faults: Sequence[str], *, as_json: bool) -> list[str]:
    if as_json:
        return [json.dumps(asdict(entry)) for entry in entries]
    verdict = "the chain and all invariants hold" if not faults else f"BROKEN: {'; '.join(faults)}"
    return [*(_line(entry) for entry in entries), verdict]


def print_ledger(database: Database, receipt: str, *, as_json: bool) -> Disclosed:
    """One referral's ledger as {"lines": [...]}. Raises NotFound."""

    def work(unit: Unit) -> Disclosed:
        referral = referrals.find_by_any_receipt(unit, receipt)
        if referral is None:
            raise NotFound
        entries = ledgers.read_entries(unit, referral.id)
        faults = verify(entries, protocol_for(referral.format).fallback_owner)
        return records.disclose_ledger(unit, _lines(entries, faults, as_json=as_json), referral=referral.id)

    return database.write(work)


def verify_ledgers(database: Database) -> dict[str, list[str]]:
    """Every ledger with a fault, by referral id: codes and ids only, nothing of a person."""
    protocols = {protocol_for(name).reference: protocol_for(name) for name in PROTOCOL_OF_FORMAT}
    with database.read() as unit:
        return ledgers.verify_all(unit, protocols)
