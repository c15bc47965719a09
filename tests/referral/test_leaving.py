"""What leaves is decided when it leaves: a refusal between offer and sending closes it, and so does one after it was sent."""

from __future__ import annotations

import pytest

from gateway.referral.offers import prepare_delivery
from gateway.store import referrals
from tests.builders import an_rms_message

ALDER = "alder-case-management"


def leaving(gateway, receipt):
    """What a delivery would take to the first receiver now, by type; None when nothing would leave."""

    def work(unit):
        referral = referrals.find_by_any_receipt(unit, receipt)
        task = referrals.offers_of(unit, referral.id)[0].task_id
        return prepare_delivery(unit, gateway.services, task, ALDER)

    found = gateway.services.database.write(work)
    return None if found is None else sorted({resource["resourceType"] for resource in found.body["resources"]})


def a_refusal():
    return [
        {
            "kind": "provider-sharing",
            "decision": "deny",
            "status": "active",
            "method": "verbal",
            "given_by": {"relation": "self"},
            "obtained_by": "Dana Whitfield",
            "date": "2026-11-24T02:18:00Z",
            "recipients": [ALDER],
        }
    ]


def test_an_offer_takes_the_person_and_the_order_along(gateway):
    receipt = gateway.refer()
    assert {"Patient", "ServiceRequest", "Encounter", "Task", "Flag", "Location", "Provenance"} <= set(leaving(gateway, receipt))


def test_a_refusal_between_offer_and_sending_lets_nothing_of_the_person_leave(gateway):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    task = gateway.as_alder_ehr.the_task()
    answer = gateway.as_rms.send({**message, "revision": 2, "consents": a_refusal()})
    assert answer.status_code == 200, answer.json
    assert leaving(gateway, receipt) in (None, ["Task"])
    assert gateway.as_alder_ehr.get(f"/fhir/{task['for']['reference']}").status_code == 404
    gateway.work()
    assert gateway.as_birch_ehr.the_task()
    assert [entry.kind for entry in gateway.ledger_of(receipt)] == ["enter", "offer", "revoke", "offer"]


def test_a_refusal_that_comes_with_the_request_skips_that_organisation(gateway):
    receipt = gateway.refer(consents=a_refusal())
    assert gateway.as_alder_ehr.search("Task") == []
    assert gateway.as_birch_ehr.the_task()
    assert gateway.as_rms.status_of(receipt) == "received"


@pytest.mark.parametrize("where", ["Patient", "ServiceRequest", "Encounter", "Flag", "Location", "Consent", "Task"])
def test_no_copy_holds_justice_data(gateway, where):
    message = an_rms_message(consents=a_refusal_of_nobody())
    gateway.as_rms.send(message)
    gateway.work()
    justice = [message["agency"]["case_number"]]
    justice += [
        offence[name] for offence in message["probable_cause"]["offences"] for name in ("statute", "description") if name in offence
    ]
    found = gateway.as_alder_ehr.get(f"/fhir/{where}").get_data(as_text=True)
    assert '"entry"' in found
    assert not [value for value in justice if value in found]


def a_refusal_of_nobody():
    return [{**a_refusal()[0], "decision": "permit"}]
