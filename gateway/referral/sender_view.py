"""The sender's view: the few words a sender may read about its referral, used by receipt, GET and callback alike.

The words come from the referral's own row through the table sender_view.json, cut to what the access layer permits
at that moment. Nothing here names who acted, or why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from gateway.access import records
from gateway.access.disclosed import Disclosed, Recipient
from gateway.errors import NotFound
from gateway.oauth.context import Caller
from gateway.referral.protocol import protocol_for
from gateway.services import Services
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.ledger import lock_head
from gateway.store.referrals import Referral

CALLBACK: Final = "callback"
TAKEN: Final = frozenset({"accepted", "completed", "given-back"})  # offers that were accepted, whatever came of them


@dataclass(frozen=True, slots=True)
class ViewTable:
    """The rows in the order they are tried, and the words of each permit."""

    rows: tuple[tuple[str, str, bool], ...]  # word, fact, whether the fact lies ahead until it is due
    permits: Mapping[str, frozenset[str]]


@cache
def view_table() -> ViewTable:
    """The shipped table, read once."""
    document = json.loads(resources.files("gateway.referral").joinpath("sender_view.json").read_text(encoding="utf-8"))
    return ViewTable(
        rows=tuple((row["word"], row["fact"], bool(row.get("due"))) for row in document["rows"]),
        permits={name: frozenset(words) for name, words in document["permits"].items()},
    )


def has_come(at: datetime | None, now: datetime) -> bool:
    """Whether a fact with a time of its own may be said by now."""
    return at is not None and at <= now


def word_of(referral: Referral, permit: records.ViewPermit, now: datetime) -> tuple[str, datetime]:
    """The word this sender may read now, and when the fact behind it came true."""
    allowed = view_table().permits[permit.words]
    if permit.also_response:
        allowed |= view_table().permits["response"]
    for word, fact, due in view_table().rows:
        at: datetime | None = getattr(referral, fact)
        if at is None or word not in allowed or (due and not has_come(at, now)):
            continue
        if word == "returned" and referral.accepted_at is not None:
            continue  # whoever reads `returned` may act again; after an acceptance somebody else already does
        return word, at
    raise AssertionError("the last row always holds")


def permit_of(unit: Unit, referral: Referral) -> records.ViewPermit:
    """Ask the one door which words this sender may read at this moment."""
    sender = registry.find_organization(unit, referral.organization)
    if sender is None:
        raise NotFound
    return records.view_permit(
        unit,
        sender=sender,
        holder=referral.accepted_by,
        referral=referral.id,
        purpose="COC",
        now=unit.now,
        asked_response=_asked_response(unit, referral),
    )


def _asked_response(unit: Unit, referral: Referral) -> bool:
    """Whether the sender asked for a response, and a team that goes out has it or may still get it.

    Which services are such teams is in the protocol of what the sender sent; a protocol without any asks for no response.
    """
    teams = protocol_for(referral.format).responder_teams
    if not teams or referral.accepted_by is None:
        return bool(teams)
    return any(
        offer.service in teams
        for offer in referrals.offers_of(unit, referral.id)
        if offer.receiver == referral.accepted_by and offer.state in TAKEN
    )


def current_view(unit: Unit, referral: Referral, permit: records.ViewPermit) -> dict[str, Any]:
    """The body of a receipt: receipt, status, since, next, issues."""
    word, since = word_of(referral, permit, unit.now)
    since = referral.view_since if word == referral.view_word else _told_since(word, since, permit)
    return {
        "receipt": referral.receipt,
        "status": word,
        "since": since.isoformat(timespec="milliseconds"),
        "next": json.loads(referral.next_step),
        "issues": json.loads(referral.issues),
    }


def _told_since(word: str, since: datetime, permit: records.ViewPermit) -> datetime:
    """When a word became true for this sender: not before the consent by which alone it may be read."""
    unasked = view_table().permits["response" if permit.also_response else "narrow"]
    return since if word in unasked or permit.since is None else max(since, permit.since)


def refresh_view(unit: Unit, referral_id: str) -> None:
    """Keep the word that is true now, and queue a callback where it changed.

    Call it at the end of every unit that moved the referral or a consent. A view that narrows fires no callback:
    its silence must not tell that there was something to tell.
    """
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        raise NotFound
    permit = permit_of(unit, referral)
    word, since = word_of(referral, permit, unit.now)
    if word == referral.view_word:
        return
    referrals.change_referral(unit, referral_id, view_word=word, view_since=_told_since(word, since, permit))
    if word != "received":
        for client, _address in registry.callback_of(unit, referral.organization):
            outbox.enqueue(unit, CALLBACK, client, referral_id)


def disclose(unit: Unit, referral: Referral, reader: Recipient, *, event: str, status: int = 200) -> Disclosed:
    """Render the view for one reader; the audit row is written with it."""
    permit = permit_of(unit, referral)
    view = current_view(unit, referral, permit)
    return records.disclose_view(
        unit, reader, view, permit, referral=referral.id, event=event, status=status, location=f"/referrals/{referral.receipt}"
    )


def read_view(services: Services, caller: Caller, receipt: str) -> Disclosed:
    """Answer `GET /referrals/<receipt>`. Raises NotFound for a foreign receipt and an unknown one alike."""

    def work(unit: Unit) -> Disclosed:
        referral = referrals.find_by_receipt(unit, receipt, caller.organization)
        if referral is None:
            raise NotFound
        return disclose(unit, referral, records.Reader.of(caller), event="read")

    return services.database.write(work)


def prepare_callback(unit: Unit, services: Services, referral_id: str, client_id: str) -> Disclosed | None:
    """Decide at sending time what a callback says; None when there is nothing to tell any more."""
    del services
    lock_head(unit, referral_id)
    referral = referrals.find_referral(unit, referral_id)
    client = registry.client_of(unit, client_id)
    if referral is None or client is None or client.suspended or client.organization != referral.organization:
        return None
    if word_of(referral, permit_of(unit, referral), unit.now)[0] == "received":
        return None  # the view has narrowed since: what was to be told may not be told now
    return disclose(unit, referral, records.Reader.of_client(client), event="callback")
