"""What must hold after any fault, each as a function from the evidence to what breaks it: an empty list when all is well."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from tests.faults.evidence import TAKEN, Evidence
from tests.faults.site import CLINIC, EHR, HOSPITAL_RMS, POLICE_RMS

LATER_WORDS: Final = frozenset({"accepted", "en-route", "on-scene", "contact-made", "engaged", "not-engaged"})
LOCKED: Final = "database is locked"
CLOCK_SLACK: Final = timedelta(seconds=1)  # the log's times are cut to milliseconds and written when the answer is made
NEVER: Final = frozenset({500, 501, 502, 504})


def nothing_lost(found: Evidence) -> list[str]:
    """Each acknowledged receipt exists, is its sender's and reads well; one message has one receipt, whatever was repeated."""
    faults = []
    for told in found.heard.acknowledged:
        kept = found.referrals.get(told.receipt)
        if kept is None or (kept.organization, kept.key) != (told.organization, told.key):
            faults.append(f"receipt {told.receipt} of {told.key} is not stored")
        elif found.read_back.get(told.receipt) != (200, told.receipt):
            faults.append(f"receipt {told.receipt} reads {found.read_back.get(told.receipt)}")
    keys = Counter((kept.organization, kept.key) for kept in found.referrals.values())
    return faults + [f"{key} became {count} referrals" for (_, key), count in keys.items() if count > 1]


def one_holder(found: Evidence) -> list[str]:
    """Each ledger is sound and names one holder; an acceptance that was answered is the holder's; at most one took it."""
    faults = [f"{each.receipt}: {fault}" for each in found.referrals.values() for fault in each.faults]
    for each in found.referrals.values():
        if each.holder is None or each.holder != each.last_holder:
            faults.append(f"{each.receipt}: the head says {each.holder}, the entries {each.last_holder}")
        if sum(offer.state in TAKEN for offer in each.offers) > 1:
            faults.append(f"{each.receipt}: taken twice")
    receivers = {offer.task: (each, offer) for each in found.referrals.values() for offer in each.offers}
    for accepted in found.heard.acceptances.values():
        each, offer = receivers.get(accepted.task, (None, None))
        if accepted.kept_at is not None and (each is None or offer is None or offer.state not in TAKEN or each.holder != CLINIC):
            faults.append(f"Task {accepted.task}: the acceptance was answered and is not kept")
    return faults + _command(found, "ledger verify")


def once_in_ehr(found: Evidence) -> list[str]:
    """Where ifNoneExist is known nothing is made twice; elsewhere nothing is sent again that may have been taken."""
    faults = [f"{kind} {name} is there {count} times" for (kind, name), count in found.held.items() if count > 1]
    made = Counter(name for push in found.pushes for name in push.made)
    faults += [f"{kind} {name} was made {count} times" for (kind, name), count in made.items() if count > 1]
    if found.honours:
        faults += [f"Task {push.task}: pushed without ifNoneExist" for push in found.pushes if push.unguarded]
    else:
        blind = Counter(push.task for push in found.pushes if push.creates and not push.refused)
        faults += [f"Task {task}: pushed {count} times to a peer that cannot know it" for task, count in blind.items() if count > 1]
    return faults


def delivered(found: Evidence) -> list[str]:
    """What the outbox calls done was received; no row is dead; what may have arrived is unknown only where nobody can tell."""
    received = {push.task for push in found.pushes if not push.refused}
    faults = []
    for row in found.outbox:
        if row.kind == "deliver" and row.state == "done" and row.sent and row.subject not in received:
            faults.append(f"Task {row.subject}: called sent, and never arrived")
        if row.state == "dead" or (row.state == "unknown" and found.honours):
            faults.append(f"{row.kind} {row.subject}: {row.state}")
    return faults


def view_is_true(found: Evidence) -> list[str]:
    """No sender ever read more than had happened, and the police no more than its law allows."""
    tasks = {each.receipt: [offer.task for offer in each.offers] for each in found.referrals.values()}
    faults = []
    for view in found.heard.views:
        sent = [found.heard.acceptances[task].sent_at for task in tasks.get(view.receipt, []) if task in found.heard.acceptances]
        if view.word in LATER_WORDS and (view.client == POLICE_RMS or not sent or min(sent) > view.at):
            faults.append(f"{view.receipt}: {view.client} read {view.word} before anybody said so")
        if view.word == "returned" and sent and min(sent) < view.at and _kept(found, tasks[view.receipt]):
            faults.append(f"{view.receipt}: read returned after an acceptance")
    return faults + [
        f"{told.receipt}: told {told.word} by callback, and nobody said so"
        for told in found.told
        if told.word in LATER_WORDS and not any(task in found.heard.acceptances for task in tasks.get(told.receipt, []))
    ]


def _kept(found: Evidence, tasks: list[str]) -> bool:
    return any((accepted := found.heard.acceptances.get(task)) is not None and accepted.kept_at is not None for task in tasks)


def audited(found: Evidence) -> list[str]:
    """For each thing a peer received there is a row of its own, written before it; the chain is whole."""
    faults = _against("push", Counter(push.task for push in found.pushes if push.status != 401), _rows_by_task(found))
    told = Counter(each.receipt for each in found.told)
    of = {each.id: each.receipt for each in found.referrals.values()}
    calls = Counter(of.get(row.referral or "", "") for row in found.audit if row.event == "callback" and row.client == HOSPITAL_RMS)
    faults += _against("callback", told, calls)
    read = Counter(view.receipt for view in found.heard.views)
    rows = Counter(of.get(row.referral or "", "") for row in found.audit if row.event in ("intake", "read"))
    faults += _against("answer", read, rows)
    if found.same_clock:
        faults += _too_late(found)
    return faults + _command(found, "audit verify") + ([f"{found.unlinked} audit rows have no link"] if found.unlinked else [])


def _rows_by_task(found: Evidence) -> Counter[str]:
    return Counter(task for row in found.audit if row.event == "deliver" and row.organization == CLINIC for task in row.tasks)


def _against(what: str, received: Counter[str], rows: Counter[str]) -> list[str]:
    return [f"{key}: {count} × {what} received, {rows[key]} audit rows" for key, count in received.items() if rows[key] < count]


def _too_late(found: Evidence) -> list[str]:
    """Pushes before which there was no audit row more than there had been pushes."""
    recorded = defaultdict(list)
    for row in found.audit:
        if row.event == "deliver":
            for task in row.tasks:
                recorded[task].append(row.recorded)
    faults = []
    earlier: Counter[str] = Counter()
    for push in sorted((push for push in found.pushes if push.status != 401), key=lambda push: push.at):
        earlier[push.task] += 1
        if sum(at <= push.at + CLOCK_SLACK for at in recorded[push.task]) < earlier[push.task]:
            faults.append(f"Task {push.task}: received before its audit row was written")
    return faults


def drained(found: Evidence) -> list[str]:
    """Nothing is left to be done."""
    left = Counter((row.kind, row.state) for row in found.outbox if row.state in ("due", "claimed", "sending"))
    return [f"{count} × {kind} {state}" for (kind, state), count in left.items()]


def nothing_odd(found: Evidence) -> list[str]:
    """No answer of a kind nobody may get, and SQLite's own lock is never met."""
    odd = Counter(
        (each.who, each.status) for each in found.heard.answers if each.status in NEVER or each.status in (400, 403, 409, 413, 422)
    )
    faults = [f"{who} got {count} × {status}" for (who, status), count in odd.items() if not (who == EHR and status in (409, 422))]
    return faults + [f"{name}: {LOCKED}" for name, log in found.logs.items() if LOCKED in log]


def _command(found: Evidence, name: str) -> list[str]:
    code, said = found.commands.get(name, (1, "not run"))
    return [] if code == 0 else [f"{name}: exit {code}: {said.strip()[-200:]}"]


CHECKS: Final[Mapping[str, Callable[[Evidence], list[str]]]] = {
    "lost": nothing_lost,
    "holder": one_holder,
    "once": once_in_ehr,
    "sent": delivered,
    "view": view_is_true,
    "audit": audited,
    "drained": drained,
    "odd": nothing_odd,
}
"""Columns of the table, in order."""
