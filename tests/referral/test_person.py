"""One person over several messages and referrals: refusals, revocations and omissions, and who still sees whom."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.builders import an_authorization, an_rms_message

ALDER, BIRCH = "alder-case-management", "birch-case-management"
PERSON = {"identifier": "P-77", "name": {"family": "Doe", "given": ["Sam"]}, "gender": "unknown"}


def sharing(decision="permit", **changes):
    consent = {
        "kind": "provider-sharing",
        "decision": decision,
        "status": "active",
        "method": "verbal",
        "given_by": {"relation": "self"},
        "obtained_by": "Dana Whitfield",
        "date": "2026-11-24T02:18:00Z",
        "recipients": [ALDER],
    }
    return {**consent, **changes}


@pytest.fixture
def case(gateway):
    return Case(gateway)


class Case:
    """One message, sent again and again."""

    def __init__(self, gateway):
        self.gateway, self.message, self.revision = gateway, an_rms_message(person=PERSON), 0

    def send(self, *consents, **changes):
        self.revision += 1
        body = {**self.message, "revision": self.revision, **changes}
        if consents:
            body["consents"] = list(consents)
        answer = self.gateway.as_rms.send(body)
        assert answer.status_code in (200, 201), answer.json
        self.gateway.work()
        return answer.json["receipt"]

    def alder_reads(self, task):
        return self.gateway.as_alder_ehr.get(f"/fhir/{task['for']['reference']}").status_code == 200


def test_a_refusal_after_a_revocation_stays_a_refusal(gateway, case):
    case.send(sharing())
    task = gateway.as_alder_ehr.the_task()
    case.send(sharing(status="revoked"))
    assert not case.alder_reads(task)
    case.send(sharing("deny"))
    assert not case.alder_reads(task)
    assert gateway.as_alder_ehr.open_tasks() == []


def test_leaving_a_refusal_out_does_not_take_it_back(gateway, case):
    case.send(sharing("deny"))
    assert gateway.as_alder_ehr.search("Task") == []
    case.send()
    case.send(narrative="Nothing about consents here")
    assert gateway.as_alder_ehr.search("Task") == []


def test_a_refusal_ends_when_the_sender_says_that_it_was_withdrawn(gateway, case):
    receipt = case.send(sharing("deny", recipients=None) | {"recipients": []})
    gateway.pass_final_time(receipt)
    case.send(sharing("deny", status="revoked", recipients=[]))
    assert gateway.as_alder_ehr.open_tasks()


def test_leaving_a_permit_out_does_not_shut_out_who_treats_the_person(gateway, case):
    case.send(sharing())
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    case.send()
    assert case.alder_reads(task)


def test_a_revocation_of_the_receiver_outlives_an_omission(gateway, case):
    case.send(sharing())
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    [consent] = ehr.search("Consent")
    assert ehr.patch(consent, [{"op": "replace", "path": "/status", "value": "inactive"}]).status_code == 200
    assert not case.alder_reads(task)
    case.send()
    case.send(sharing())
    assert not case.alder_reads(task)


def test_another_order_of_the_consents_changes_nothing(gateway, case):
    [status] = an_authorization("signed by the person, confirmed by the clinic")
    receipt = case.send(status, sharing())
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    for consent in ehr.search("Consent"):
        assert ehr.confirm(consent).status_code == 200
    assert gateway.as_rms.status_of(receipt) == "accepted"
    before = {consent["id"]: consent["meta"]["versionId"] for consent in ehr.search("Consent")}
    case.send(sharing(), status)
    assert {consent["id"]: consent["meta"]["versionId"] for consent in ehr.search("Consent")} == before
    assert gateway.as_rms.status_of(receipt) == "accepted"
    assert case.alder_reads(task)


def test_a_status_authorization_that_was_revoked_does_not_shut_out_the_clinic(gateway, case):
    [status] = an_authorization("signed by the person, confirmed by the clinic")
    receipt = case.send(status, sharing())
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    case.send(sharing(), {**status, "status": "revoked"})
    assert case.alder_reads(task)
    assert gateway.as_rms.status_of(receipt) == "received"


def test_a_new_authorization_given_after_a_revocation_and_confirmed_opens_the_view_again(gateway, case):
    [status] = an_authorization("signed by the person, confirmed by the clinic")
    receipt = case.send(status)
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.the_task(), status="accepted")
    case.send({**status, "status": "revoked"})
    early = {**status, "date": "2026-11-24T05:00:00Z"}
    case.send({**status, "status": "revoked"}, early)
    confirm_all(ehr)
    assert gateway.as_rms.status_of(receipt) == "received"  # signed before it was revoked
    time.sleep(1.1)  # a signature has whole seconds
    signed = datetime.now(UTC).isoformat(timespec="seconds")
    case.send({**status, "status": "revoked"}, early, {**status, "date": signed})
    confirm_all(ehr)
    assert gateway.as_rms.status_of(receipt) == "accepted"


def confirm_all(ehr):
    for consent in ehr.search("Consent", "?status=active"):
        assert ehr.confirm(consent).status_code == 200


def test_a_refusal_in_one_referral_ends_the_open_offers_of_the_others(gateway, case):
    first = case.send()
    task = gateway.as_alder_ehr.the_task()
    second = gateway.as_rms.send(an_rms_message(person=PERSON, consents=[sharing("deny")]))
    assert second.status_code == 201
    assert gateway.as_alder_ehr.put(task, status="accepted").status_code == 412
    assert gateway.as_alder_ehr.get(f"/fhir/Task/{task['id']}").json["status"] == "cancelled"
    gateway.work()
    assert gateway.holder_of(first) == "riverton-police"
    assert [entry.kind for entry in gateway.ledger_of(first)] == ["enter", "offer", "revoke", "offer"]
    assert len(gateway.as_birch_ehr.open_tasks()) == 2


def test_what_is_newly_known_of_a_person_reaches_the_holders_of_earlier_referrals(gateway, case):
    case.send()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    gateway.refer(person={**PERSON, "phone": "+1 206 555 0199"})
    assert "0199" in ehr.get(f"/fhir/{task['for']['reference']}").get_data(as_text=True)


def test_who_gave_the_referral_back_learns_nothing_newer(gateway, case):
    receipt = case.send()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    assert ehr.put(task, status="failed", statusReason={"text": "moved away"}).status_code == 200
    case.send(person={**PERSON, "phone": "+1 206 555 0199"}, narrative="Now at the shelter")
    seen = "".join(str(resource) for kind in ("Patient", "ServiceRequest", "Task") for resource in ehr.search(kind))
    assert "0199" not in seen
    assert "shelter" not in seen
    assert gateway.holder_of(receipt) == "coordinator"


def test_a_cancel_of_what_the_coordinator_holds_closes_it(gateway, case):
    receipt = case.send()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    ehr.put(task, status="failed", statusReason={"text": "moved away"})
    assert gateway.as_rms.cancel(receipt).json["status"] == "closed"
    assert [entry.kind for entry in gateway.ledger_of(receipt)][-2:] == ["cancel-request", "close"]
