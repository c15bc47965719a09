"""What of a receiver's write is taken: its own elements, read against what it is served, with nothing that would hide or undo the rest."""

from __future__ import annotations

import json

import pytest

from gateway.access.redaction import REMOVED
from gateway.referral.merge import taken_over
from gateway.store import referrals
from tests.builders import a_patch, an_authorization, an_rms_message

ALDER = "alder-case-management"
MODIFIER = [{"url": "https://example.org/negates", "valueBoolean": True}]
NCIC = "MKE/WANTED PERSON ORI/WA0170100 NAM/MARSH,JAMIE OFF/SECRETOFFENSE NIC/W123456789"
OUTCOME = [{"type": {"text": "outcome"}, "valueString": "Plan agreed"}]


def a_refusal():
    """The person says no to any sharing with the first receiver."""
    consent = {
        "kind": "provider-sharing",
        "decision": "deny",
        "status": "active",
        "method": "verbal",
        "given_by": {"relation": "self"},
        "obtained_by": "Dana Whitfield",
        "date": "2026-11-24T02:18:00Z",
        "recipients": [ALDER],
    }
    return [consent]


def accepted(gateway, **changes):
    """A Task its receiver has accepted, as served to it."""
    gateway.refer(**changes)
    return gateway.as_alder_ehr.put(gateway.as_alder_ehr.the_task(), status="accepted", note=[{"text": "on our way"}]).json


@pytest.fixture
def closed(gateway):
    """The Task of a receiver that has accepted, before and after the person refused: without the person, the order and what it noted."""
    message = an_rms_message()
    gateway.as_rms.send(message)
    gateway.work()
    ehr = gateway.as_alder_ehr
    before = ehr.put(ehr.the_task(), status="accepted", note=[{"text": "on our way"}]).json
    assert gateway.as_rms.send({**message, "revision": 2, "consents": a_refusal()}).status_code == 200
    gateway.work()
    after = ehr.get(f"/fhir/Task/{before['id']}").json
    assert {"for", "focus", "input", "note"} <= set(before) - set(after)
    return before, after


def stored(gateway, task):
    """The Task as it is stored, whoever may see what of it."""
    from gateway.access import records

    with gateway.services.database.read() as unit:
        assert referrals.offer_of_task(unit, task["id"]) is not None
        return records.hold(unit, "Task", task["id"]).body


# --- what it cannot see ---


@pytest.mark.parametrize("guess", ["as it is", "Patient/never-was"])
def test_a_test_of_a_hidden_element_fails_whatever_it_guesses(gateway, closed, guess):
    before, after = closed
    value = before["for"]["reference"] if guess == "as it is" else guess
    answer = gateway.as_alder_ehr.patch(after, a_patch(("test", "/for/reference", value)))
    assert answer.status_code == 422
    assert answer.json["issue"] == gateway.as_alder_ehr.patch(after, a_patch(("test", "/nothing/reference", value))).json["issue"]


@pytest.mark.parametrize("source", ["/for/reference", "/focus/reference", "/input/0/valueReference/reference", "/note/0/text"])
def test_a_hidden_element_cannot_be_copied_into_one_that_is_served(gateway, closed, source):
    _, after = closed
    copy = {"op": "copy", "from": source, "path": "/statusReason/text"}
    answer = gateway.as_alder_ehr.patch(after, [{"op": "add", "path": "/statusReason", "value": {}}, copy])
    assert answer.status_code == 422
    assert "statusReason" not in gateway.as_alder_ehr.get(f"/fhir/Task/{after['id']}").json


def test_a_hidden_element_that_is_sent_back_is_refused_like_any_other(gateway, closed):
    before, after = closed
    answers = [
        gateway.as_alder_ehr.put(after, **{"for": {"reference": value}}) for value in (before["for"]["reference"], "Patient/never-was")
    ]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].get_data() == answers[1].get_data()


@pytest.mark.parametrize("way", ["put", "patch"])
def test_what_it_cannot_see_stays_stored_when_it_goes_on(gateway, closed, way):
    before, after = closed
    ehr = gateway.as_alder_ehr
    noted = [{"text": "seen at the door"}]
    moved = (
        ehr.put(after, status="in-progress", note=noted)
        if way == "put"
        else ehr.patch(after, a_patch(("replace", "/status", "in-progress"), ("add", "/note", noted)))
    )
    assert moved.status_code == 200, moved.json
    assert {"for", "focus", "input"}.isdisjoint(moved.json)
    kept = stored(gateway, after)
    assert (kept["for"], kept["focus"], kept["input"]) == (before["for"], before["focus"], before["input"])
    assert [note["text"] for note in kept["note"]] == ["on our way", "seen at the door"]
    done = ehr.put(moved.json, status="completed", output=OUTCOME)
    assert done.status_code == 200, done.json
    assert stored(gateway, after)["output"] == OUTCOME


@pytest.mark.parametrize(
    ("stored", "served", "wanted", "left"),
    [
        ("a", "a", "b", "b"),
        ("a", "a", None, None),
        ("a", None, None, "a"),
        (["a", "b"], ["a", "-"], ["a", "-"], ["a", "b"]),
        (["a", "b"], ["a", "-"], ["a", "-", "c"], ["a", "b", "c"]),
        (["a", "b"], ["-", "-"], ["-", "-", "c"], ["a", "b", "c"]),
        (["a", "b"], ["a", "-"], ["-"], ["b"]),
        (["a", "b"], None, ["c"], ["a", "b", "c"]),
        (["a", "b"], None, ["b"], ["a", "b"]),
        (["a", "b"], ["a"], ["c"], ["a", "b", "c"]),
        (None, None, ["c"], ["c"]),
    ],
)
def test_what_was_hidden_is_never_written_away(stored, served, wanted, left):
    assert taken_over(stored, served, wanted) == left


def test_the_elements_of_a_task_keep_their_order(gateway):
    task = accepted(gateway)
    moved = gateway.as_alder_ehr.put(dict(reversed(list(task.items()))), status="in-progress").json
    assert list(moved) == list(task)


# --- what would change the meaning of the rest ---


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"output": [{**OUTCOME[0], "modifierExtension": MODIFIER}]}, "Task.output[0]"),
        ({"output": [OUTCOME[0], {**OUTCOME[0], "modifierExtension": MODIFIER}]}, "Task.output[1]"),
        ({"modifierExtension": MODIFIER}, "Task.modifierExtension"),
        ({"implicitRules": "https://example.org/rules"}, "Task.implicitRules"),
        ({"statusReason": {"text": "x", "modifierExtension": MODIFIER}}, "Task.statusReason"),
    ],
)
@pytest.mark.parametrize("way", ["put", "patch"])
def test_a_modifier_in_a_task_is_refused_by_its_element_and_nothing_is_stored(gateway, way, changes, place):
    task = accepted(gateway)
    ehr = gateway.as_alder_ehr
    operations = a_patch(*(("add", f"/{name}", value) for name, value in changes.items()))
    answer = ehr.put(task, **changes) if way == "put" else ehr.patch(task, operations)
    assert answer.status_code == 422
    assert any(expression.startswith(place) for issue in answer.json["issue"] for expression in issue["expression"])
    assert ehr.get(f"/fhir/Task/{task['id']}").json == task


def test_a_modifier_in_a_verification_is_refused_by_its_element_and_nothing_is_stored(gateway):
    gateway.refer(consents=an_authorization("signed by the person, attached by the officer"))
    ehr = gateway.as_alder_ehr
    consent = ehr.search("Consent")[0]
    answer = ehr.patch(consent, a_patch(("add", "/verification", [{"verified": True, "modifierExtension": MODIFIER}])))
    assert answer.status_code == 422
    assert [issue["expression"] for issue in answer.json["issue"]] == [["Consent.verification[0]"]]
    assert ehr.get(f"/fhir/Consent/{consent['id']}").json == consent


def test_a_patch_that_leaves_no_restriction_that_can_be_read_is_refused(gateway):
    task = accepted(gateway)
    for broken in ("x", [], {"period": "x"}, {"period": [1]}):
        assert gateway.as_alder_ehr.patch(task, a_patch(("add", "/restriction", broken))).status_code == 422


# --- the id, and what is cut ---


@pytest.mark.parametrize("body_id", [None, "another", "", 7])
def test_an_update_names_the_id_of_its_address(gateway, body_id):
    task = accepted(gateway)
    body = {name: value for name, value in {**task, "id": body_id, "status": "in-progress"}.items() if value is not None}
    headers = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}
    answer = gateway.as_alder_ehr.call(
        "PUT", f"/fhir/Task/{task['id']}", data=json.dumps(body), content_type="application/fhir+json", headers=headers
    )
    assert answer.status_code == 400
    assert gateway.as_alder_ehr.get(f"/fhir/Task/{task['id']}").json == task


@pytest.mark.parametrize(
    "changes",
    [
        {"note": [{"text": f"Ran him: {NCIC}"}]},
        {"statusReason": {"text": NCIC}},
        {"output": [{"type": {"text": "outcome"}, "valueString": NCIC}]},
        {"businessStatus": {"text": NCIC}},
    ],
)
@pytest.mark.parametrize("way", ["put", "patch"])
def test_what_looks_like_a_criminal_history_answer_is_cut_from_a_receivers_task_before_it_is_stored(gateway, way, changes):
    task = accepted(gateway)
    ehr = gateway.as_alder_ehr
    wanted = {"status": "in-progress", **changes}
    answer = ehr.put(task, **wanted) if way == "put" else ehr.patch(task, a_patch(*(("add", f"/{name}", wanted[name]) for name in wanted)))
    assert answer.status_code == 200, answer.json
    kept = json.dumps(stored(gateway, task))
    assert "SECRETOFFENSE" not in kept
    assert REMOVED in kept
    again = ehr.put(answer.json, **changes)
    assert again.json["meta"]["versionId"] == answer.json["meta"]["versionId"]
