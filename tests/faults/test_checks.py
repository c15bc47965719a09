"""The checks have teeth: each planted violation is found by the check it belongs to, and by no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.checks import CHECKS, LOCKED
from tests.faults.evidence import Delivery, Evidence, Noted, Offer, Push, Referral, Told, push_of
from tests.faults.people import Acceptance, Acknowledged, Answered, Heard, View
from tests.faults.report import COLUMNS, Row
from tests.faults.run import judge
from tests.faults.site import CLINIC, EHR, HOSPITAL, HOSPITAL_RMS, POLICE, POLICE_RMS

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
NAME = ("Task", "https://crisis-referral-gateway.org/fhir/sid/placer|P1")
TASK = "task-1"


def row(event, client, organization, referral="r1", at=AT, tasks=()):
    return Noted(event, client, organization, referral, at, frozenset(tasks))


def evidence(**changes):
    """A hospital's referral that was acknowledged, pushed, accepted and told, and a policeman's that waits."""
    found = Evidence(
        Heard(
            acknowledged=[
                Acknowledged(HOSPITAL_RMS, HOSPITAL, "F-1", "receipt-1", 201, 1, 1.0),
                Acknowledged(POLICE_RMS, POLICE, "F-2", "receipt-2", 200, 2, 2.0),
            ],
            acceptances={TASK: Acceptance(TASK, 3.0, 4.0)},
            views=[View(HOSPITAL_RMS, "receipt-1", "accepted", 5.0), View(POLICE_RMS, "receipt-2", "received", 5.0)],
            answers=[Answered(HOSPITAL_RMS, 201, 0.1, 1.0), Answered(EHR, 412, 0.1, 4.0), Answered(POLICE_RMS, 503, 2.0, 1.5)],
        ),
        referrals={
            "receipt-1": Referral("r1", "receipt-1", HOSPITAL, "F-1", CLINIC, CLINIC, (Offer(TASK, CLINIC, "accepted"),), ()),
            "receipt-2": Referral("r2", "receipt-2", POLICE, "F-2", POLICE, POLICE, (), ()),
        },
        read_back={"receipt-1": (200, "receipt-1"), "receipt-2": (200, "receipt-2")},
        pushes=[Push(TASK, AT + timedelta(seconds=1), 200, (NAME,), 0, creates=True)],
        told=[Told("receipt-1", "accepted", AT)],
        audit=[
            row("deliver", CLINIC, CLINIC, tasks=[TASK]),
            row("callback", HOSPITAL_RMS, HOSPITAL),
            row("intake", HOSPITAL_RMS, HOSPITAL),
            row("intake", POLICE_RMS, POLICE, "r2"),
        ],
        outbox=[Delivery("deliver", TASK, "done", sent=True)],
        held={NAME: 1},
        commands={"ledger verify": (0, ""), "audit verify": (0, "")},
        logs={"server": "all is well"},
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def found_by(evidence):
    return {name for name, faults in judge(evidence).items() if faults}


def test_sound_evidence_passes_every_check():
    assert judge(evidence()) == {name: [] for name in CHECKS}


def with_heard(**changes):
    return lambda good: setattr(good, "heard", replace(good.heard, **changes))


def with_referral(receipt="receipt-1", **changes):
    return lambda good: good.referrals.update({receipt: replace(good.referrals[receipt], **changes)})


def with_push(**changes):
    return lambda good: setattr(good, "pushes", [replace(good.pushes[0], **changes)])


def again(good):
    """The same push once more, and the audit row that belongs to it."""
    good.pushes.append(replace(good.pushes[0], made=()))
    good.audit.append(good.audit[0])


def made_again(good):
    again(good)
    good.pushes[-1] = replace(good.pushes[-1], made=(NAME,))


def blind_repeat(good):
    again(good)
    good.honours = False


def without_audit(event):
    return lambda good: setattr(good, "audit", [row for row in good.audit if row.event != event])


def in_doubt(good):
    good.outbox = [Delivery("deliver", TASK, "unknown", sent=False)]


VIOLATIONS = {
    "an acknowledged referral is gone": (lambda good: good.referrals.pop("receipt-2"), {"lost", "audit"}),
    "a receipt stands for another message": (with_referral(key="F-9"), {"lost"}),
    "a receipt does not read": (lambda good: good.read_back.update({"receipt-1": (404, "")}), {"lost"}),
    "one message became two referrals": (with_referral("receipt-2", organization=HOSPITAL, key="F-1"), {"lost"}),
    "nobody holds a referral": (with_referral("receipt-2", holder=None), {"holder"}),
    "head and entries name two holders": (with_referral("receipt-2", last_holder=CLINIC), {"holder"}),
    "two offers were taken": (
        with_referral(offers=(Offer(TASK, CLINIC, "accepted"), Offer("task-2", CLINIC, "accepted"))),
        {"holder"},
    ),
    "a ledger is not sound": (with_referral(faults=("invariant 8",)), {"holder"}),
    "an answered acceptance was not kept": (
        with_referral(offers=(Offer(TASK, CLINIC, "open"),), holder=HOSPITAL, last_holder=HOSPITAL),
        {"holder"},
    ),
    "the ledger's own command finds a fault": (lambda good: good.commands.update({"ledger verify": (1, "broken")}), {"holder"}),
    "a resource is in the EHR twice": (lambda good: good.held.update({NAME: 2}), {"once"}),
    "a resource was made twice": (made_again, {"once"}),
    "a push carries no ifNoneExist": (with_push(unguarded=1), {"once"}),
    "a peer that cannot know it got it again": (blind_repeat, {"once"}),
    "what is called sent never arrived": (lambda good: good.pushes.clear(), {"sent"}),
    "a delivery is dead": (lambda good: good.outbox.append(Delivery("callback", "r1", "dead", sent=False)), {"sent"}),
    "a delivery is in doubt at a peer that can tell": (in_doubt, {"sent"}),
    "a sender read accepted before it was said": (with_heard(views=[View(HOSPITAL_RMS, "receipt-1", "accepted", 2.5)]), {"view"}),
    "the police read accepted": (with_heard(views=[View(POLICE_RMS, "receipt-2", "accepted", 5.0)]), {"view"}),
    "a sender read returned after an acceptance": (with_heard(views=[View(HOSPITAL_RMS, "receipt-1", "returned", 5.0)]), {"view"}),
    "a callback told what nobody said": (with_heard(acceptances={}, views=[]), {"view"}),
    "a push has no audit row": (without_audit("deliver"), {"audit"}),
    "a second push shares the audit row of the first": (lambda good: (again(good), good.audit.pop()), {"audit"}),
    "a push came before its audit row": (with_push(at=AT - timedelta(seconds=5)), {"audit"}),
    "a callback has no audit row": (without_audit("callback"), {"audit"}),
    "an answer has no audit row": (without_audit("intake"), {"audit"}),
    "the chain is broken": (lambda good: good.commands.update({"audit verify": (1, "FAULT")}), {"audit"}),
    "audit rows have no link": (lambda good: setattr(good, "unlinked", 3), {"audit"}),
    "a delivery waits for ever": (lambda good: good.outbox.append(Delivery("offer", "r1", "due", sent=False)), {"drained"}),
    "an answer is 500": (lambda good: good.heard.answers.append(Answered(POLICE_RMS, 500, 0.1, 1.0)), {"odd"}),
    "a sender is refused its own message": (lambda good: good.heard.answers.append(Answered(POLICE_RMS, 409, 0.1, 1.0)), {"odd"}),
    "the database was locked": (lambda good: good.logs.update({"worker-1": f"OperationalError: {LOCKED}"}), {"odd"}),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_planted_violation_is_found_by_its_check_and_no_other(violation):
    plant, checks = VIOLATIONS[violation]
    broken = evidence()
    plant(broken)
    assert found_by(broken) == checks


def test_a_refused_push_may_come_again_to_a_peer_that_cannot_know_it():
    retried = evidence(honours=False)
    retried.pushes.append(replace(retried.pushes[0], status=429, made=()))
    retried.audit.append(retried.audit[0])
    assert found_by(retried) == set()


def test_a_fabricated_second_creation_in_a_raw_log_is_read_as_one():
    identifier = [
        {"system": NAME[1].split("|")[0], "value": "P1"},
        {"system": "urn:ietf:rfc:3986", "value": f"http://gateway.test/fhir/Task/{TASK}"},
    ]
    bundle = '{"entry": [{"resource": {"resourceType": "Task", "identifier": %s}, "request": {"method": "POST", "ifNoneExist": "x"}}]}'
    line = {
        "at": AT.isoformat(),
        "request": "POST /fhir HTTP/1.1",
        "status": None,
        "body": bundle % str(identifier).replace("'", '"'),
        "answer": '{"entry": [{"response": {"status": "201 Created"}}]}',
    }
    push = push_of(line, "http://gateway.test")
    assert NAME in push.made
    twice = evidence(pushes=[push, push])
    assert any("made 2 times" in fault for fault in CHECKS["once"](twice))


def test_a_case_whose_fault_never_came_has_failed_whatever_held():
    held = {name: [] for name in COLUMNS}
    assert Row("kill", "sqlite", happened=True, verdicts=held).ok
    assert not Row("kill", "sqlite", happened=False, verdicts=held).ok
    assert not Row("kill", "sqlite", happened=True).ok
    assert not Row("kill", "sqlite", happened=True, verdicts={**held, "lost": ["one"]}).ok
