"""The main job, end to end over HTTP: sent, offered, accepted, told."""

from tests.builders import an_rms_message


def test_a_diversion_request_gets_a_receipt_that_says_received(gateway):
    answer = gateway.as_rms.send(an_rms_message())
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/referrals/{answer.json['receipt']}")
    assert set(answer.json) == {"receipt", "status", "since", "next", "issues"}
    assert answer.json["status"] == "received"


def test_the_first_target_of_the_protocol_gets_the_task_and_nobody_else(gateway):
    gateway.refer()
    assert gateway.as_alder_ehr.the_task()["owner"]["reference"] == "Organization/alder-case-management"
    for other in ("birch-ehr", "northside-ehr", "cedar-ehr"):
        assert gateway.actors[other].search("Task") == []


def test_the_receiver_reads_person_order_and_encounter_by_following_its_task(gateway):
    gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    for reference in (task["for"], task["focus"], task["encounter"]):
        assert gateway.as_alder_ehr.get(f"/fhir/{reference['reference']}").status_code == 200
    order = gateway.as_alder_ehr.get(f"/fhir/{task['focus']['reference']}").json
    assert order["intent"] == "filler-order"
    assert "basedOn" not in order


def test_an_order_asks_each_receiver_for_the_service_it_offers(gateway):
    gateway.refer()
    asked = []
    for name in ("alder-ehr", "birch-ehr", "northside-ehr"):
        ehr = gateway.actors[name]
        task = ehr.the_task()
        order = ehr.get(f"/fhir/{task['focus']['reference']}").json
        asked.append([coding["code"] for coding in order["code"]["coding"] if coding["system"].endswith("/CodeSystem/service-type")])
        ehr.put(task, status="rejected")
        gateway.work()
    own = [[code for code in codes if not code.isdigit()] for codes in asked]
    assert own == [["lead-case-management"], ["lead-case-management"], ["crisis-stabilization"]]


def test_an_acceptance_moves_the_responsibility_once(gateway):
    receipt = gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    answer = gateway.as_alder_ehr.put(task, status="accepted")
    assert answer.status_code == 200
    assert answer.json["status"] == "accepted"
    assert gateway.holder_of(receipt) == "alder-case-management"


def test_the_same_update_again_is_no_new_version(gateway):
    gateway.refer()
    accepted = gateway.as_alder_ehr.put(gateway.as_alder_ehr.the_task(), status="accepted").json
    again = gateway.as_alder_ehr.put(accepted)
    assert again.status_code == 200
    assert again.json["meta"]["versionId"] == accepted["meta"]["versionId"]


def test_a_receiver_reports_until_the_outcome(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    task = ehr.put(task, status="in-progress").json
    refused = ehr.put(task, status="completed")
    assert refused.status_code == 422
    assert "Task.output" in refused.json["issue"][0]["expression"]
    done = ehr.put(task, status="completed", output=[{"type": {"text": "outcome"}, "valueString": "Plan agreed"}])
    assert done.status_code == 200, done.json
    assert gateway.ledger_of(receipt)[-1].kind == "close"


def test_a_decline_ends_the_offer_and_makes_the_next_one(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    declined = ehr.put(task, status="rejected", statusReason={"text": "no capacity"})
    assert declined.status_code == 200
    gateway.work()
    assert ehr.get(f"/fhir/{task['for']['reference']}").status_code == 404
    assert ehr.get(f"/fhir/{task['focus']['reference']}").status_code == 404
    mine = ehr.get(f"/fhir/Task/{task['id']}").json
    assert not {"for", "focus", "input", "encounter"} & set(mine)
    assert gateway.as_birch_ehr.the_task()["status"] == "requested"
    assert gateway.as_rms.status_of(receipt) == "received"


def test_when_nobody_is_left_the_sender_reads_returned(gateway):
    receipt = gateway.refer()
    for name in ("alder-ehr", "birch-ehr", "northside-ehr"):
        ehr = gateway.actors[name]
        assert ehr.put(ehr.the_task(), status="rejected").status_code == 200
        gateway.work()
    assert gateway.as_rms.status_of(receipt) == "returned"
    assert gateway.holder_of(receipt) == "riverton-police"


def test_a_missed_deadline_ends_the_offer_and_asks_the_next(gateway):
    receipt = gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    gateway.pass_deadline(receipt)
    gateway.work()
    late = gateway.as_alder_ehr.put(task, status="accepted")
    assert late.status_code == 412
    assert gateway.as_alder_ehr.get(f"/fhir/Task/{task['id']}").json["status"] == "cancelled"
    assert gateway.as_alder_ehr.get(f"/fhir/{task['for']['reference']}").status_code == 404
    assert gateway.as_birch_ehr.the_task()


def test_an_unidentified_person_is_normal(gateway):
    gateway.refer(person={"unidentified": True, "description": "Adult in a red coat"})
    ehr = gateway.as_alder_ehr
    patient = ehr.get(f"/fhir/{ehr.the_task()['for']['reference']}").json
    assert patient["identifier"]
    assert patient["gender"] == "unknown"


def test_a_hard_stop_offers_the_referral_to_nobody(gateway):
    receipt = gateway.refer(agreement_to_talk={"answer": "no", "at": "2026-11-24T02:50:00Z"})
    assert gateway.as_rms.status_of(receipt) == "returned"
    assert gateway.as_alder_ehr.search("Task") == []


def test_a_task_moves_only_as_the_workflow_has_it_and_the_legal_moves_are_named(gateway):
    gateway.refer()
    refused = gateway.as_alder_ehr.put(gateway.as_alder_ehr.the_task(), status="completed")
    assert refused.status_code == 422
    text = refused.json["issue"][0]["details"]["text"]
    assert refused.json["issue"][0]["code"] == "business-rule"
    assert "accepted" in text
    assert "rejected" in text


def test_an_update_needs_the_version_it_rests_on(gateway):
    gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    assert gateway.as_alder_ehr.put(task, if_match=None, status="accepted").status_code == 428
    assert gateway.as_alder_ehr.put(task, if_match='W/"99"', status="accepted").status_code == 412


def test_only_the_owners_elements_are_taken(gateway):
    gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    for name, value in (("priority", "stat"), ("for", {"reference": "Patient/x"}), ("requester", {"display": "us"})):
        refused = gateway.as_alder_ehr.put(task, status="accepted", **{name: value})
        assert refused.status_code == 422
        assert f"Task.{name}" in refused.json["issue"][0]["expression"]
    bare = {name: task[name] for name in ("resourceType", "id", "meta", "intent", "code")}
    assert gateway.as_alder_ehr.put(bare, status="accepted").status_code == 200


def test_a_json_patch_moves_a_task_too(gateway):
    gateway.refer()
    answer = gateway.as_alder_ehr.patch(gateway.as_alder_ehr.the_task(), [{"op": "replace", "path": "/status", "value": "accepted"}])
    assert answer.status_code == 200
    assert answer.json["status"] == "accepted"
