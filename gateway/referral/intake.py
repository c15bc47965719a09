"""Taking a sender's message in: cut, map, validate, keep. The first half of job 1, and what happens when it comes again.

Parsing, mapping and validation come before the write section. Nothing is stored of a message with a fault.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Final

import mappings
from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.errors import Unavailable
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.offers import CLOSE, GATEWAY, ask_next
from gateway.referral.person import follow_person, lock_with_others
from gateway.referral.protocol import Protocol, protocol_for
from gateway.referral.reading import Taken, dry_run_body, read_message
from gateway.referral.resend import take_newer
from gateway.referral.routing import next_step
from gateway.referral.sender_record import write_sender_record
from gateway.referral.sender_view import disclose
from gateway.referral.versions import Overtaken, Version, place_among, prepare
from gateway.services import Services
from gateway.store import messages, outbox, referrals
from gateway.store.database import Unit
from gateway.store.ids import new_id, new_number
from gateway.store.referrals import Referral
from profiles.strict_json import canonical_json

ATTEMPTS: Final = 8  # how often a message is merged anew because another of its key came first


def take_in(services: Services, caller: Caller, format_name: str, body: bytes, *, strict: bool, dry_run: bool) -> Disclosed:
    """Answer `POST /intake/<format>`: 201 with a new receipt, 200 with a known one, or the dry run's Bundle and trace.

    Raises what `read_message` raises, DuplicateKey, Unavailable.
    """
    taken = read_message(services.validator, services.keys.cut_key, format_name, body, strict=strict)
    if dry_run:
        shown = dry_run_body(taken, caller.organization)
        return services.database.write(lambda unit: records.disclose_dry_run(unit, caller, shown))
    protocol = protocol_for(format_name)
    if not mappings.load(format_name).merges:
        return services.database.write(lambda unit: _keep(unit, services, caller, Version(taken), protocol))
    return _merge_in(services, caller, taken, protocol)


def _merge_in(services: Services, caller: Caller, taken: Taken, protocol: Protocol) -> Disclosed:
    """Keep a message merged with what is known; what is known is read again where another message of the key came between."""
    for _ in range(ATTEMPTS):
        with services.database.read() as unit:
            known = messages.find_message(unit, caller.organization, taken.format, taken.key)
        version = prepare(services.validator, known, taken)
        try:
            return services.database.write(partial(_keep, services=services, caller=caller, version=version, protocol=protocol))
        except Overtaken:
            continue
    raise Unavailable


def _keep(unit: Unit, services: Services, caller: Caller, version: Version, protocol: Protocol) -> Disclosed:
    """One message inside the write section: new, the same again, newer, older, or the same number with other content."""
    taken = version.taken
    messages.lock_key(unit, caller.organization, taken.format, taken.key)
    known = messages.find_message(unit, caller.organization, taken.format, taken.key)
    referral = referrals.find_by_message(unit, caller.organization, taken.format, taken.key)
    version = place_among(known, version, mappings.load(taken.format).key_field)
    if referral is None:
        referral = _enter(unit, caller, taken, protocol)
        return disclose(unit, referral, caller, event="intake", status=201)
    if version.late is not None:
        _keep_message(unit, caller, version.late, referral.id)
    if version.is_kept:
        _keep_message(unit, caller, taken, referral.id)
        if version.counts:
            take_newer(unit, services, caller, referral, taken.mapped, taken.revision, _stored_issues(taken))
    current = referrals.find_by_message(unit, caller.organization, taken.format, taken.key)
    assert current is not None  # noqa: S101 (it was there a moment ago, and nothing deletes referrals here)
    return disclose(unit, current, caller, event="intake")


def _stored_issues(taken: Taken) -> str:
    return json.dumps([issue.as_json() for issue in taken.issues])


def _keep_message(unit: Unit, caller: Caller, taken: Taken, referral_id: str) -> None:
    messages.keep_message(
        unit,
        organization=caller.organization,
        format=taken.format,
        message_key=taken.key,
        revision=taken.revision,
        content_sha256=taken.sha256,
        body=canonical_json(taken.source).decode(),
        client=caller.client_id,
        referral=referral_id,
        cuts=taken.cuts,
    )


def _enter(unit: Unit, caller: Caller, taken: Taken, protocol: Protocol) -> Referral:
    """A new referral: the sender's record, the first ledger entry and the job "offer"."""
    referral_id = new_id()
    routing = json.dumps(taken.mapped.routing, default=str, sort_keys=True)
    referral = Referral(
        id=referral_id,
        receipt=new_number(),
        organization=caller.organization,
        format=taken.format,
        message_key=taken.key,
        revision=taken.revision,
        protocol=protocol.reference,
        phase="open",
        round=1,
        rerouted=False,
        routing=routing,
        issues=_stored_issues(taken),
        next_step=json.dumps(next_step(protocol, taken.mapped.routing, unit.now), default=str),
        view_word="received",
        view_since=unit.now,
        entered_at=unit.now,
        final_at=unit.now + protocol.final_after,
        closes_at=unit.now + protocol.sender_closes_after,
    )
    referrals.add_referral(unit, referral)
    _keep_message(unit, caller, taken, referral_id)
    ledgers.open_ledger(unit, referral_id, protocol, sender=caller.organization, actor=caller.client_id)
    written = write_sender_record(unit, referral, taken.mapped, protocol)
    if written["patient"].referral != referral_id:  # somebody of whom there are others
        follow_person(unit, referral, lock_with_others(unit, referral), actor=caller.client_id)
    ask_next(unit, referral_id)
    outbox.enqueue(unit, CLOSE, GATEWAY, referral_id, due_at=referral.closes_at)
    return referral
