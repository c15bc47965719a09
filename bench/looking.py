"""What the bench reads in the database beside the gateway: counts and times, by statements of its own."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from sqlalchemy import text

from bench.load import BenchFailed
from gateway.store.database import Database

OFFER_SECONDS: Final = 180.0


def _rows(database: Database, statement: str, **asked: Any) -> list[Any]:
    with database.read() as unit:
        return list(unit.connection.execute(text(statement), asked))


def audit_rows(database: Database, client: str) -> Counter[str]:
    """How many audit rows a client has, by action and outcome."""
    found = _rows(
        database, "SELECT action, outcome, count(*) FROM audit_event WHERE client = :client GROUP BY action, outcome", client=client
    )
    return Counter({f"{action} {outcome}": number for action, outcome, number in found})


def tokens_since(database: Database, client: str, microseconds: int) -> int:
    """How many tokens a client was given from a time on."""
    statement = "SELECT count(*) FROM access_token WHERE client = :client AND issued_at >= :since"
    return int(_rows(database, statement, client=client, since=microseconds)[0][0])


def tasks(database: Database, receiver: str, state: str, limit: int) -> list[str]:
    """Ids of a receiver's Tasks whose offers are in a state, the newest first."""
    statement = "SELECT task_id FROM offer WHERE receiver = :receiver AND state = :state ORDER BY offered_at DESC, id LIMIT :limit"
    return [str(row[0]) for row in _rows(database, statement, receiver=receiver, state=state, limit=limit)]


def first_offers(database: Database, since: int) -> list[tuple[int, int]]:
    """(entered, first offered) in microseconds since 1970, of each referral entered from a time on that has an offer."""
    statement = (
        "SELECT r.entered_at, min(o.offered_at) FROM referral r JOIN offer o ON o.referral = r.id"
        " WHERE r.entered_at >= :since GROUP BY r.id, r.entered_at"
    )
    return [(entered, offered) for entered, offered in _rows(database, statement, since=since)]


def wait_for_offers(database: Database, since: int, wanted: int) -> list[tuple[int, int]]:
    """As first_offers, once so many have one. Raises BenchFailed."""
    until = time.monotonic() + OFFER_SECONDS
    while len(found := first_offers(database, since)) < wanted:
        if time.monotonic() > until:
            raise BenchFailed(f"{wanted - len(found)} of {wanted} referrals have no offer after {OFFER_SECONDS:.0f} s")
        time.sleep(0.1)
    return found


def offer_audits(database: Database, since: int) -> int:
    """How many offers were audited from a time on."""
    statement = "SELECT count(*) FROM audit_event WHERE action = 'offer' AND recorded >= :since"
    return int(_rows(database, statement, since=since)[0][0])
