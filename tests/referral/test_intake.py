"""What a sender's message must be, what is cut out of it before it is kept, and that nothing of a refused one is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from gateway.errors import Invalid
from gateway.referral.reading import read_message
from gateway.store import messages, referrals
from profiles.issues import Issue
from tests.builders import an_authorization, an_rms_message

CRIMINAL_HISTORY = "NCIC RESPONSE\nNAM/MARSH, JAMIE DOB/19940517 SEX/F RAC/W\nFBI/123456AB7 SID/WA12345678\n***MESSAGE KEY QH SEARCHES***"


def stored(gateway):
    """All that the database holds, as text."""
    with gateway.services.database.read() as unit:
        tables = ("intake_message", "resource", "resource_version", "audit_event", "referral", "search_token", "ledger_entry", "outbox")
        return {table: str([tuple(row) for row in unit.connection.exec_driver_sql(f"SELECT * FROM {table}")]) for table in tables}


def test_what_looks_like_a_criminal_history_answer_is_cut_before_anything_is_kept(gateway):
    message = an_rms_message(narrative=f"She wants help.\n\n{CRIMINAL_HISTORY}\n\nShe is calm.")
    answer = gateway.as_rms.send(message)
    assert answer.status_code == 201
    issue = next(issue for issue in answer.json["issues"] if issue["code"] == "suppressed")
    assert "/narrative" in json.dumps(issue)
    gateway.work()
    for table, content in stored(gateway).items():
        assert "123456AB7" not in content, table
        assert "MESSAGE KEY QH" not in content, table
    assert "wants help" in stored(gateway)["intake_message"]


def test_of_what_was_cut_its_place_and_a_keyed_hash_are_kept(gateway):
    message = an_rms_message(narrative=CRIMINAL_HISTORY)
    receipt = gateway.as_rms.send(message).json["receipt"]
    with gateway.services.database.read() as unit:
        referral = referrals.find_by_any_receipt(unit, receipt)
        [kept] = messages.messages_of(unit, referral.id)
    assert [pointer for pointer, _ in kept.cuts] == ["/narrative"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for _, digest in kept.cuts)


def with_form(content, content_type="text/plain"):
    """A message whose authorization has a form of this content, with its true hash."""
    [consent] = an_authorization("signed by the person, confirmed by the clinic")
    digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
    consent["source"] = {"title": "Form", "content_type": content_type, "hash": digest, "data": base64.b64encode(content).decode()}
    return an_rms_message(consents=[consent])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_a_criminal_history_answer_inside_an_attached_form_is_cut_and_reaches_nobody(gateway, encoding):
    message = with_form(f"I allow it, señor.\n\n{CRIMINAL_HISTORY}\n".encode(encoding))
    answer = gateway.as_rms.send(message)
    assert answer.status_code == 201, answer.json
    [issue] = answer.json["issues"]
    assert (issue["code"], issue["diagnostics"]) == ("suppressed", "source field: /consents/0/source/data")
    gateway.work()
    for table, content in stored(gateway).items():
        assert message["consents"][0]["source"]["data"] not in content, table
    [consent] = gateway.as_alder_ehr.search("Consent")
    form = base64.b64decode(consent["sourceAttachment"]["data"]).decode(encoding)
    assert form.startswith("I allow it, señor.")
    assert "123456AB7" not in form
    assert "hash" not in consent["sourceAttachment"]


def test_a_form_without_such_text_is_kept_as_it_came(gateway):
    message = with_form(b"I allow it. Case worker: Ana.")
    assert gateway.as_rms.send(message).json["issues"] == []
    gateway.work()
    [consent] = gateway.as_alder_ehr.search("Consent")
    assert consent["sourceAttachment"]["data"] == message["consents"][0]["source"]["data"]
    assert consent["sourceAttachment"]["hash"] == message["consents"][0]["source"]["hash"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "application/pdf"), (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(300), "image/png")],
)
def test_a_form_that_is_no_text_is_taken_and_named_as_not_looked_into(gateway, content, content_type):
    answer = gateway.as_rms.send(with_form(content, content_type))
    assert answer.status_code == 201
    [issue] = answer.json["issues"]
    assert (issue["severity"], issue["code"], issue["diagnostics"]) == (
        "information",
        "informational",
        "source field: /consents/0/source/data",
    )
    assert "not looked into" in issue["details"]["text"]


def test_a_message_without_such_text_has_nothing_cut(gateway):
    receipt = gateway.as_rms.send(an_rms_message()).json["receipt"]
    with gateway.services.database.read() as unit:
        referral = referrals.find_by_any_receipt(unit, receipt)
        [kept] = messages.messages_of(unit, referral.id)
    assert kept.cuts == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "structure"),
        (b"{", 400, "structure"),
        (b"[]", 400, "structure"),
        (b'"text"', 400, "structure"),
        (b'{"request_number": "1", "request_number": "2"}', 400, "structure"),
        (b'{"revision": NaN}', 400, "structure"),
        (b'{"revision": -Infinity}', 400, "structure"),
        (b'{"narrative": "\xff"}', 400, "structure"),
        (b"\xef\xbb\xbf{}", 400, "structure"),
        (b'{"narrative": "\\ud800"}', 400, "structure"),
        (b"[" * 65 + b"]" * 65, 413, "too-costly"),
        (b"[" * 100_000, 413, "too-costly"),
        (b'{"narrative": "' + b"x" * 300_000 + b'"}', 413, "too-long"),
        (b"{}", 422, "required"),
    ],
)
def test_what_is_no_message_is_refused_with_its_place_and_nothing_is_kept(gateway, body, status, code):
    assert gateway.as_rms.token
    before = {table: content for table, content in stored(gateway).items() if table != "audit_event"}
    answer = gateway.as_rms.send(body)
    assert answer.status_code == status, answer.json
    assert answer.json["resourceType"] == "OperationOutcome"
    assert answer.json["issue"][0]["code"] == code
    assert {table: content for table, content in stored(gateway).items() if table != "audit_event"} == before


def test_each_fault_has_an_issue_of_its_own_with_field_and_element(gateway):
    message = an_rms_message(requested_at="2026-02-30T10:00:00Z", door="trapdoor", urgency="soon")
    message["officer"].pop("name", None)
    message["contact"]["started_at"] = "2026-11-24T25:61:00Z"
    answer = gateway.as_rms.send(message)
    assert answer.status_code == 422
    told = {issue.get("diagnostics", ""): issue.get("expression", []) for issue in answer.json["issue"]}
    for field in ("/requested_at", "/door", "/urgency", "/contact/started_at"):
        place = next((found for found in told if field in found), None)
        assert place is not None, (field, told)
        assert told[place], field
    assert "trapdoor" not in answer.get_data(as_text=True)


def test_a_revision_written_1_0_is_revision_1_of_the_same_content(gateway):
    message = an_rms_message()
    first = gateway.as_rms.send(json.dumps({**message, "revision": 1.0}))
    again = gateway.as_rms.send(message)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["receipt"] == again.json["receipt"]


def test_an_authorization_that_names_no_recipient_opens_nothing(gateway):
    [consent] = an_authorization("signed by the person, confirmed by the clinic")
    del consent["recipients"]
    receipt = gateway.as_rms.send(an_rms_message(consents=[consent])).json["receipt"]
    gateway.work()
    ehr = gateway.as_alder_ehr
    [held] = ehr.search("Consent")
    ehr.confirm(held)
    assert ehr.put(ehr.the_task(), status="accepted").status_code == 200
    assert gateway.as_rms.status_of(receipt) == "received"


def test_who_does_not_answer_the_medical_question_is_told_at_once_that_the_referral_stops(gateway):
    answer = gateway.as_rms.send(an_rms_message(safety_facts=[{"code": "aggressive-dog", "state": "present"}]))
    assert answer.status_code == 201
    [issue] = answer.json["issues"]
    assert (issue["severity"], issue["diagnostics"]) == ("warning", "source field: /safety_facts")
    assert issue["expression"]
    assert "medical emergency" in answer.json["next"]["reason"]
    gateway.work()
    assert gateway.as_rms.status_of(answer.json["receipt"]) == "returned"


def test_case_details_repeated_in_free_text_do_not_reach_the_provider_and_stay_with_the_sender(gateway):
    message = an_rms_message(
        narrative="Case 2026 118204: stopped for possession of a controlled substance (rcw 69.50.4013). Wants help.",
        warm_handoff={"requested": True, "wait_location": "Desk 2, ask for 2026-118204"},
    )
    answer = gateway.as_rms.send(message)
    assert {issue["diagnostics"] for issue in answer.json["issues"]} == {
        "source field: /narrative",
        "source field: /warm_handoff/wait_location",
    }
    assert answer.json["next"]["wait_at"] == "Desk 2, ask for 2026-118204"
    gateway.work()
    read = "".join(json.dumps(gateway.as_alder_ehr.search(kind)) for kind in ("ServiceRequest", "Encounter", "Patient", "Task"))
    assert "Case [removed]: stopped for [removed] ([removed]). Wants help." in read
    assert "at Desk 2, ask for [removed]" in read
    assert "118204" not in read
    assert "2026 118204" in stored(gateway)["intake_message"]


@pytest.mark.parametrize(
    ("element", "source"),
    [
        ("Observation.value.ofType(string)", "/agency/case_number"),
        ("Observation.effective.ofType(dateTime)", "/contact/started_at"),
        ("Observation.identifier[0].value", "/agency/case_number"),
        ("Observation.code.coding[0].code", None),
    ],
)
def test_a_fault_of_r4_names_the_source_field_also_at_an_element_of_several_types(element, source):
    class Faulty:
        def validate(self, resource):
            is_case = resource["resourceType"] == "Observation" and "identifier" in resource
            return [Issue("error", "value", "Not so.", (element,))] if is_case else []

    with pytest.raises(Invalid) as caught:
        read_message(Faulty(), b"k" * 32, "rms-diversion", json.dumps(an_rms_message()).encode(), strict=False)
    assert [issue.source for issue in caught.value.issues] == [source]


@pytest.mark.parametrize("query", ["?dry-run=maybe", "?dry-run=true&x=1", "?dryrun=true", "?dry-run=false&dry-run=true"])
def test_a_query_that_is_not_understood_is_refused(gateway, query):
    assert gateway.as_rms.send(an_rms_message(), query=query).status_code == 422


def test_a_dry_run_shows_bundle_and_trace_and_keeps_nothing_but_its_audit_row(gateway):
    before = {table: content for table, content in stored(gateway).items() if table != "audit_event"}
    rows = len(gateway.audit())
    answer = gateway.as_rms.send(an_rms_message(), query="?dry-run=true")
    assert answer.status_code == 200
    assert {"bundle", "trace", "unused", "issues"} <= set(answer.json)
    types = {entry["resource"]["resourceType"] for entry in answer.json["bundle"]["entry"]}
    assert {"Patient", "Encounter", "ServiceRequest"} <= types
    assert {table: content for table, content in stored(gateway).items() if table != "audit_event"} == before
    assert [row.action for row in gateway.audit()[rows:]] == ["dry-run"]


def test_every_published_example_is_accepted_as_it_is(gateway):
    schema = gateway.app.test_client().get("/intake/rms-diversion/schema").json
    assert len(schema["examples"]) >= 3
    for example in schema["examples"]:
        answer = gateway.as_rms.send(example, Prefer="handling=strict")
        assert answer.status_code in (200, 201), answer.json  # 200: a newer revision of another example
        assert answer.json["issues"] == [] or all(issue["severity"] in ("warning", "information") for issue in answer.json["issues"])


def test_a_schema_that_is_not_there_is_not_found(gateway):
    assert gateway.app.test_client().get("/intake/telegram/schema").status_code == 404


def test_a_receiver_that_says_received_is_noted_once_and_nothing_moves(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    for _ in range(2):
        answer = ehr.put(task, status="received")
        assert answer.status_code == 200
        assert answer.json["status"] == "requested"
    assert [entry.kind for entry in gateway.ledger_of(receipt)] == ["enter", "offer", "acknowledge"]
    assert gateway.holder_of(receipt) == "riverton-police"
    assert ehr.put(task, status="accepted").status_code == 200
