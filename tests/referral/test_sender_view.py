"""What a sender reads: three words without the person's confirmed authorization, never who and never why."""

import pytest

from tests.builders import an_authorization, an_rms_message

CONFIRMED = "signed by the person, confirmed by the clinic"


def refer_with(gateway, authorization):
    receipt = gateway.refer(consents=an_authorization(authorization))
    ehr = gateway.as_alder_ehr
    if "confirmed by the clinic" in authorization or authorization == "revoked":
        for consent in ehr.search("Consent"):
            assert ehr.confirm(consent).status_code == 200
    if authorization == "revoked":
        for consent in ehr.search("Consent"):
            assert ehr.patch(consent, [{"op": "replace", "path": "/status", "value": "inactive"}]).status_code == 200
    return receipt


@pytest.mark.parametrize(
    ("authorization", "rms_reads"),
    [
        (CONFIRMED, "accepted"),
        ("signed by the person, attached by the officer", "received"),
        ("ticked by the officer", "received"),
        ("ticked by the officer, confirmed by the clinic", "received"),
        ("revoked", "received"),
        ("past its period", "received"),
        ("none on file", "received"),
    ],
)
def test_police_learn_of_acceptance_only_by_the_persons_own_authorization(gateway, authorization, rms_reads):
    receipt = refer_with(gateway, authorization)
    ehr = gateway.as_alder_ehr
    assert ehr.put(ehr.the_task(), status="accepted").status_code == 200
    assert gateway.as_rms.status_of(receipt) == rms_reads


def test_the_word_follows_the_progress_with_authorization(gateway):
    receipt = refer_with(gateway, CONFIRMED)
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    task = ehr.put(task, status="in-progress").json
    assert gateway.as_rms.status_of(receipt) == "contact-made"
    ehr.put(task, status="completed", output=[{"type": {"text": "outcome"}, "valueString": "x"}])
    assert gateway.as_rms.status_of(receipt) == "engaged"


def test_a_revocation_closes_the_view_at_once(gateway):
    receipt = refer_with(gateway, CONFIRMED)
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.the_task(), status="accepted")
    assert gateway.as_rms.status_of(receipt) == "accepted"
    for consent in ehr.search("Consent"):
        assert ehr.patch(consent, [{"op": "replace", "path": "/status", "value": "inactive"}]).status_code == 200
    assert gateway.as_rms.status_of(receipt) == "received"


def test_a_cancel_answers_the_same_before_and_after_acceptance(gateway):
    bodies = []
    for accepts in (False, True):
        receipt = gateway.refer(person={"unidentified": True})
        ehr = gateway.as_alder_ehr
        if accepts:
            ehr.put(ehr.the_task(), status="accepted")
        answer = gateway.as_rms.cancel(receipt)
        assert answer.status_code == 200
        assert answer.json["status"] == "closed"
        body = answer.get_data(as_text=True)
        for changing in (receipt, answer.json["since"], answer.json["next"]["final_time"]):
            body = body.replace(changing, "*")
        bodies.append((body, sorted(name for name, _ in answer.headers)))
    assert bodies[0] == bodies[1]


def test_a_cancel_after_acceptance_is_a_request_to_the_holder(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    gateway.as_rms.cancel(receipt)
    asked = ehr.get(f"/fhir/Task/{task['id']}").json
    assert asked["status"] == "accepted"
    assert any(coding["code"] == "cancellation-requested" for coding in asked["businessStatus"]["coding"])
    assert gateway.holder_of(receipt) == "alder-case-management"


def test_a_foreign_receipt_is_as_unknown_as_one_that_never_was(gateway):
    receipt = gateway.refer()
    foreign = gateway.as_other_rms.get(f"/referrals/{receipt}")
    unknown = gateway.as_other_rms.get("/referrals/neverwas")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.get_data() == unknown.get_data()
    assert gateway.as_other_rms.cancel(receipt).status_code == 404


def test_police_read_nothing_of_fhir(gateway):
    gateway.refer()
    assert gateway.as_rms.get("/fhir/Task").status_code == 403


def test_a_covered_sender_reads_its_own_task(gateway):
    gateway.refer("hospital")
    assert [task["status"] for task in gateway.as_hospital.search("Task")] == ["requested"]
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.the_task(), status="accepted")
    assert [task["status"] for task in gateway.as_hospital.search("Task")] == ["accepted"]


def test_the_view_says_closed_after_the_protocols_fixed_time(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.the_task(), status="accepted")
    gateway.pass_closing_time(receipt)
    assert gateway.as_rms.status_of(receipt) == "closed"


def test_next_and_issues_do_not_depend_on_routing(gateway):
    message = an_rms_message()
    first = gateway.as_rms.send(message).json
    gateway.work()
    gateway.as_alder_ehr.put(gateway.as_alder_ehr.the_task(), status="accepted")
    again = gateway.as_rms.send(message).json
    assert again == first
