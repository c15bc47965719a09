"""`--save DIR`: every resource the demo stored, one file each. The exchanges are written by the stand-ins as they happen.

Only for a demo's own database, where everybody is invented: it asks no policy and writes no audit row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateway.access import records
from gateway.audit.events import audit_rows
from gateway.demo.failing import DemoFailed
from gateway.demo.people import NAMES
from gateway.demo.town import Town
from gateway.store import referrals
from gateway.store.database import Unit
from profiles.strict_json import parse_json, to_json

ALL_ROWS = 1_000_000


def prepare(folder: Path) -> Path:
    """Make the folders and take away what an earlier run left in them; returns where exchanges go."""
    for name, pattern in (("stored", "*/*.json"), ("wire", "*.http"), ("wire", ".number")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in (folder / name).glob(pattern):
            file.unlink()
    return (folder / "wire").resolve()


def save_stored(town: Town, folder: Path) -> int:
    """Write `stored/<Type>/<id>.json` of every domain; returns how many."""
    with town.database.read() as unit:
        found = {(kind, id_): body for kind, id_, body in _everything(unit, town.receipts)}
    for (kind, id_), body in found.items():
        file = folder / "stored" / kind / f"{id_}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return len(found)


def _everything(unit: Unit, receipts: list[str]) -> Iterator[tuple[str, str, bytes]]:
    for receipt in receipts:
        referral = referrals.find_by_any_receipt(unit, receipt)
        if referral is None:
            raise DemoFailed(f"the store does not know receipt {receipt}")
        for domain in NAMES:
            for held in records.hold_all(unit, referral.id, domain):
                yield held.type, held.id, to_json(held.body)
    for key in NAMES:
        organization = records.hold(unit, "Organization", key)
        if organization is not None:
            yield organization.type, organization.id, to_json(organization.body)
    for row in audit_rows(unit, limit=ALL_ROWS):
        yield "AuditEvent", row.id, to_json(parse_json(row.body.encode()))
