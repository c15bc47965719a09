"""Sending again: the same, newer, older, and the same number with other content."""

import threading

import pytest

from gateway.store import messages
from tests.builders import an_rms_message


def test_the_same_message_again_gets_the_same_receipt(gateway):
    message = an_rms_message()
    first, again = gateway.as_rms.send(message), gateway.as_rms.send(message)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json


def test_the_same_number_with_other_content_is_refused(gateway):
    message = an_rms_message()
    gateway.as_rms.send(message)
    refused = gateway.as_rms.send({**message, "urgency": "routine" if message.get("urgency") != "routine" else "urgent"})
    assert refused.status_code == 409
    assert refused.json["issue"][0]["code"] == "duplicate"


def test_another_organisation_may_use_the_same_number(gateway):
    message = an_rms_message()
    assert gateway.as_rms.send(message).status_code == 201
    assert gateway.as_other_rms.send(message).status_code == 201


def test_sixteen_equal_requests_at_once_make_one_referral(gateway):
    message = an_rms_message()
    assert gateway.as_rms.token
    answers = []

    def send():
        actor = gateway.actors["rms"]
        answers.append(actor.send(message))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json["receipt"] for answer in answers}) == 1
    gateway.work()
    assert len(gateway.as_alder_ehr.open_tasks()) == 1


def test_an_older_version_is_kept_and_changes_nothing(gateway):
    newer = an_rms_message(revision=3)
    first = gateway.as_rms.send(newer)
    gateway.work()
    older = gateway.as_rms.send({**newer, "revision": 2, "narrative": "Earlier words"})
    assert older.status_code == 200
    assert older.json == first.json
    with gateway.services.database.read() as unit:
        known = messages.find_message(unit, "riverton-police", "rms-diversion", newer["request_number"])
    assert [(message.revision, "Earlier words" in message.body) for message in known] == [(2, True), (3, False)]
    ehr = gateway.as_alder_ehr
    assert "Earlier words" not in ehr.get(f"/fhir/{ehr.the_task()['focus']['reference']}").get_data(as_text=True)


def test_a_newer_version_before_acceptance_reaches_the_open_offer(gateway):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    task = gateway.as_alder_ehr.the_task()
    newer = gateway.as_rms.send({**message, "revision": 2, "narrative": "Person now sits in the lobby"})
    assert (newer.status_code, newer.json["receipt"]) == (200, receipt)
    order = gateway.as_alder_ehr.get(f"/fhir/{task['focus']['reference']}")
    assert "lobby" in order.get_data(as_text=True)


def test_a_newer_version_with_a_hard_stop_ends_the_open_offer(gateway):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    task = gateway.as_alder_ehr.the_task()
    gateway.as_rms.send({**message, "revision": 2, "agreement_to_talk": {"answer": "no", "at": "2026-11-24T03:00:00Z"}})
    gateway.work()
    assert gateway.as_alder_ehr.get(f"/fhir/Task/{task['id']}").json["status"] == "cancelled"
    assert gateway.holder_of(receipt) == "riverton-police"
    gateway.pass_final_time(receipt)
    assert gateway.as_rms.status_of(receipt) == "returned"


@pytest.mark.parametrize("accepted", [False, True])
def test_a_probe_by_a_newer_version_tells_nothing_of_an_acceptance(gateway, accepted):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    if accepted:
        assert gateway.as_alder_ehr.put(gateway.as_alder_ehr.the_task(), status="accepted").status_code == 200
    stop = {"answer": "no", "at": "2026-11-24T03:00:00Z"}
    answer = gateway.as_rms.send({**message, "revision": 2, "agreement_to_talk": stop})
    gateway.work()
    read = gateway.as_rms.get(f"/referrals/{receipt}")
    assert answer.json == read.json
    assert read.json["status"] == "received"
    assert "decision stays with you" in read.json["next"]["instruction"]
    again = gateway.as_rms.send({**message, "revision": 3})
    gateway.work()
    assert gateway.as_rms.status_of(receipt) == "received"
    assert again.json["next"]["final_time"] == read.json["next"]["final_time"]


@pytest.mark.parametrize("done", ["open", "accepted", "completed", "failed"])
def test_issues_and_next_follow_the_message_however_far_the_referral_has_come(gateway, done):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    ehr = gateway.as_alder_ehr
    if done != "open":
        task = ehr.put(ehr.the_task(), status="accepted").json
        if done != "accepted":
            assert ehr.put(task, status=done, businessStatus={"text": "done"}).status_code == 200
    newer = gateway.as_rms.send({**message, "revision": 2, "door": "community", "shoe_size": 44}).json
    assert [issue["code"] for issue in newer["issues"]] == ["informational"]
    assert newer["next"]["instruction"].startswith("You need not wait. If you read returned")
    assert newer["status"] == "received"
    assert gateway.as_rms.get(f"/referrals/{receipt}").json == newer


def test_a_newer_version_after_acceptance_replaces_the_copies_and_reroutes_nothing(gateway):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    ehr = gateway.as_alder_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    gateway.as_rms.send(
        {**message, "revision": 2, "narrative": "New facts", "agreement_to_talk": {"answer": "no", "at": "2026-11-24T03:00:00Z"}}
    )
    gateway.work()
    assert "New facts" in ehr.get(f"/fhir/{task['focus']['reference']}").get_data(as_text=True)
    told = ehr.get(f"/fhir/Task/{task['id']}").json
    assert "lead-stop-voluntary" in told["note"][-1]["text"]
    assert gateway.holder_of(receipt) == "alder-case-management"


def test_a_newer_version_after_returned_begins_a_new_round(gateway):
    message = an_rms_message(agreement_to_talk={"answer": "no", "at": "2026-11-24T02:00:00Z"})
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    assert gateway.as_rms.status_of(receipt) == "returned"
    gateway.as_rms.send({**message, "revision": 2, "agreement_to_talk": {"answer": "yes", "at": "2026-11-24T03:00:00Z"}})
    gateway.work()
    assert gateway.as_rms.status_of(receipt) == "received"
    assert gateway.as_alder_ehr.the_task()


def test_one_person_identifier_is_one_patient_in_the_senders_domain(gateway):
    person = {"identifier": "P-77", "name": {"family": "Doe", "given": ["Sam"]}, "gender": "unknown"}
    gateway.refer(person=person)
    ehr = gateway.as_alder_ehr
    first = ehr.the_task()
    ehr.put(first, status="accepted")
    gateway.refer(person=person)
    second = ehr.the_task()
    assert first["for"] == second["for"]


@pytest.mark.parametrize("strict", [True, False])
def test_an_unknown_field_is_refused_only_when_asked_to_be_strict(gateway, strict):
    message = an_rms_message(shoe_size=44)
    answer = gateway.as_rms.send(message, Prefer="handling=strict" if strict else "handling=lenient")
    assert answer.status_code == (422 if strict else 201)
    assert any("/shoe_size" in issue.get("diagnostics", "") for issue in (answer.json.get("issue") or answer.json["issues"]))
