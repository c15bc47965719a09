"""The transaction Bundle a receiver gets, and what is read of its answer."""

from __future__ import annotations

import pytest

from gateway.delivery.bundles import Unsendable, entry_statuses, issue_codes, pushed_types, transaction_bundle
from tests.delivery.peers import PATIENT_ID, REQUEST_ID, SID, TASK_ID, referral_resources

BASE = "https://gateway.example"


def entries(mode="create", resources=None):
    bundle = transaction_bundle(resources or referral_resources(), BASE + "/", mode)
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
    return {entry["resource"]["resourceType"]: entry for entry in bundle["entry"]}


def test_every_entry_is_a_conditional_create_by_the_identifier_the_receiver_knows():
    found = entries()
    assert found["Patient"]["request"] == {
        "method": "POST",
        "url": "Patient",
        "ifNoneExist": f"identifier=https%3A%2F%2Fcrisis-referral-gateway.org%2Ffhir%2Fsid%2Fcopy%7C{PATIENT_ID}",
    }
    assert found["Task"]["request"]["ifNoneExist"].endswith("placer%7CP-1")


def test_an_update_is_a_conditional_update_by_the_same_identifier():
    request = entries("update")["ServiceRequest"]["request"]
    assert request == {
        "method": "PUT",
        "url": f"ServiceRequest?identifier=https%3A%2F%2Fcrisis-referral-gateway.org%2Ffhir%2Fsid%2Fcopy%7C{REQUEST_ID}",
    }


def test_what_changed_since_it_was_first_written_is_updated_where_the_receiver_can():
    bundle = transaction_bundle(referral_resources(), BASE, "create", {"ServiceRequest", "Patient"})
    methods = {entry["resource"]["resourceType"]: entry["request"]["method"] for entry in bundle["entry"]}
    assert methods == {"Patient": "POST", "ServiceRequest": "PUT", "Task": "POST"}


def test_references_lead_to_entries_of_the_bundle_and_else_to_the_gateway():
    found = entries()
    assert found["Task"]["resource"]["for"]["reference"] == found["Patient"]["fullUrl"] == f"urn:uuid:{PATIENT_ID}"
    assert found["Task"]["resource"]["focus"]["reference"] == found["ServiceRequest"]["fullUrl"]
    assert found["ServiceRequest"]["resource"]["requester"]["reference"] == f"{BASE}/fhir/Organization/riverton-police"


def test_all_forms_of_a_reference_are_told_apart():
    task = referral_resources()[2]
    task["note"] = [
        {"authorReference": {"reference": reference}}
        for reference in (
            f"Patient/{PATIENT_ID}/_history/2",
            f"{BASE}/fhir/Patient/{PATIENT_ID}",
            "#contained",
            "https://other.example/fhir/Patient/1",
            "urn:uuid:6f5d4f43-7a24-5b0c-9a44-2a1d1c4e6b10",
            "Patient/other",
        )
    ]
    found = entries(resources=[referral_resources()[0], task])
    assert [note["authorReference"]["reference"] for note in found["Task"]["resource"]["note"]] == [
        f"urn:uuid:{PATIENT_ID}",
        f"urn:uuid:{PATIENT_ID}",
        "#contained",
        "https://other.example/fhir/Patient/1",
        "urn:uuid:6f5d4f43-7a24-5b0c-9a44-2a1d1c4e6b10",
        f"{BASE}/fhir/Patient/other",
    ]


def test_a_reference_that_is_no_text_is_looked_into():
    consent = {
        "resourceType": "Consent",
        "id": "c",
        "identifier": [{"system": f"{SID}/copy", "value": "c"}],
        "provision": {"data": [{"meaning": "instance", "reference": {"reference": f"Patient/{PATIENT_ID}"}}]},
    }
    found = entries(resources=[referral_resources()[0], consent])
    assert found["Consent"]["resource"]["provision"]["data"][0]["reference"] == {"reference": f"urn:uuid:{PATIENT_ID}"}


def test_the_receiver_gets_its_own_ids_and_learns_where_the_live_task_is():
    found = entries()
    request, task = found["ServiceRequest"]["resource"], found["Task"]["resource"]
    assert "id" not in request
    assert request["meta"] == {"security": [{"code": "R"}], "source": f"{BASE}/fhir/ServiceRequest/{REQUEST_ID}"}
    assert {"system": "urn:ietf:rfc:3986", "value": f"{BASE}/fhir/Task/{TASK_ID}"} in task["identifier"]


def test_provenance_is_not_pushed():
    assert set(entries()) == {"Patient", "ServiceRequest", "Task"}
    assert pushed_types(referral_resources()) == {"Patient", "ServiceRequest", "Task"}


def test_what_was_handed_over_is_left_as_it_is():
    resources = referral_resources()
    transaction_bundle(resources, BASE, "create")
    assert resources == referral_resources()


@pytest.mark.parametrize("identifier", [[], [{"value": "1"}], [{"system": "urn:x"}], [{"system": "urn:x", "value": ""}]])
def test_a_resource_that_could_not_be_told_from_a_second_one_is_not_sent(identifier):
    with pytest.raises(Unsendable):
        transaction_bundle([{"resourceType": "Flag", "id": "f", "identifier": identifier}], BASE, "create")


def test_one_identifier_that_is_no_list_counts_and_separators_in_it_are_escaped():
    answer = {"resourceType": "QuestionnaireResponse", "id": "q", "identifier": {"system": "urn:x", "value": "a|b,c&d"}}
    request = transaction_bundle([answer], BASE, "create")["entry"][0]["request"]
    assert request["ifNoneExist"] == "identifier=urn%3Ax%7Ca%5C%7Cb%5C%2Cc%26d"


def response(*statuses, kind="transaction-response"):
    return {"resourceType": "Bundle", "type": kind, "entry": [{"response": {"status": status}} for status in statuses]}


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (response("201 Created", "200", "204 No Content"), [201, 200, 204]),
        (response("201 Created", "412 Precondition Failed"), [201, 412]),
        (response(), []),
        (response("2011"), None),
        (response("created"), None),
        (response("²01"), None),
        (response("201", kind="batch-response"), None),
        ({"resourceType": "Bundle", "type": "transaction-response", "entry": [{}]}, None),
        ({"resourceType": "Bundle", "type": "transaction-response", "entry": ["x"]}, None),
        ({"resourceType": "OperationOutcome"}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_status_of_each_entry_is_read_or_the_answer_is_none(answer, statuses):
    assert entry_statuses(answer) == statuses


def test_only_codes_of_the_specification_are_kept_of_an_answer():
    issues = [{"code": "value"}, {"code": "Jane Roe, 1 Main St"}, {"code": ["value"]}, "x", {"code": "value"}, {"code": "duplicate"}]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    assert issue_codes(outcome) == ("value", "duplicate")
    assert issue_codes({"resourceType": "Bundle", "entry": [{"response": {"outcome": outcome}}, {"response": 1}, 2]}) == (
        "value",
        "duplicate",
    )
    assert issue_codes({"resourceType": "OperationOutcome", "issue": "x"}) == issue_codes("x") == ()
