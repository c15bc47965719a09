"""The named functions of the rms-diversion table, over what its schema admits: absent, unknown and said."""

from __future__ import annotations

import pytest

import mappings
from mappings.functions import CHECKS, VALUES
from mappings.rules import walk
from tests.mappings.messages import EXAMPLES, FORMAT, take, with_value, without

AT = "2026-11-24T02:31:00-08:00"


def test_each_registered_function_is_used_by_a_table():
    tables = [mappings.load(name).table for name in mappings.formats()]
    used = {rule.function for table in tables for resource in table.resources for rule, _, _ in walk(resource.group) if rule.function}
    assert used == set(VALUES)
    assert {check for table in tables for check in table.checks} == set(CHECKS)


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("organisation-reference", ["sender"], "urn:local:sender"),
        ("organisation-reference", ["northside-clinic"], "Organization/northside-clinic"),
        ("location-name", [" Bay 3 ", None, None], "Bay 3"),
        ("location-name", [None, {"line": ["1 Elm St"], "city": "Riverton"}, None], "1 Elm St, Riverton"),
        ("location-name", [None, {"postal_code": "98188"}, None], "Place of the contact"),
        ("location-name", [None, None, {"latitude": 1, "longitude": 2}], "Place of the contact"),
        ("hazards-text", [["Dog", " Ice "]], "Hazards: Dog; Ice"),
        ("hazards-text", [[]], None),
        ("hazards-text", [None], None),
        ("person-note", [None, None, None], None),
        ("person-note", [None, "unknown", "no"], None),
        ("person-note", ["Red coat", "25-44", "yes"], "Description of the person: Red coat Estimated age: 25-44. Veteran."),
        ("handoff-note", [False, "Here", None, None], None),
        ("handoff-note", [None, None, None, None], None),
        ("handoff-note", [True, None, None, None], "Warm hand-off: the officer waits with the person."),
        (
            "handoff-note",
            [True, "Bay 3", AT, "+1 206"],
            f"Warm hand-off: the officer waits with the person at Bay 3 until {AT}; call +1 206.",
        ),
        ("contact-note", [None, None, None, None], None),
        ("contact-note", ["yes", None, None, None], None),
        (
            "contact-note",
            ["no", "text", False, "noon"],
            "Contact: the person must not be contacted directly; prefers text; leave no message; best time: noon.",
        ),
        ("consent-performer", ["self", None], {"reference": "urn:local:patient"}),
        ("consent-performer", ["guardian", "Ana"], {"type": "RelatedPerson", "display": "Ana"}),
        ("consent-performer", ["personal-representative", None], {"type": "RelatedPerson", "display": "personal representative"}),
        (
            "consent-terms",
            ["permit", None, None, False],
            "permit; recorded as not stated; told of the right to revoke: not stated; told of redisclosure and consequences: no",
        ),
        ("is-true", [None], False),
        ("is-true", [True], True),
        ("or-unknown", [None], "unknown"),
        ("or-unknown", ["no"], "no"),
        ("safety-states", [None], {}),
        ("has-status-consent", [None], False),
    ],
)
def test_a_function_gives(name, values, result):
    assert VALUES[name](*values) == result


@pytest.mark.parametrize(
    ("mode", "place_type", "code"),
    [
        (None, None, "FLD"),
        ("phone", "residence", "VR"),
        ("video", None, "VR"),
        ("in-person", "residence", "HH"),
        ("in-person", "street", "FLD"),
    ],
)
def test_the_class_of_an_encounter_follows_mode_and_place(mode, place_type, code):
    assert VALUES["encounter-class"](mode, place_type)["code"] == code


@pytest.mark.parametrize(("revision", "code"), [(1, "CREATE"), (2, "UPDATE"), (1000000, "UPDATE")])
def test_a_first_revision_creates_and_a_later_one_revises(revision, code):
    assert VALUES["provenance-activity"](revision)["coding"][0]["code"] == code


@pytest.mark.parametrize(
    ("birth_date", "age_band", "minor"),
    [
        ("2008-11-24", None, "no"),
        ("2008-11-25", None, "yes"),
        ("2008-11", None, "unknown"),
        ("2008-12", None, "yes"),
        ("2008-10", None, "no"),
        ("2008", None, "unknown"),
        ("2009", None, "yes"),
        ("2007", "under-18", "no"),
        ("2008-02-29", None, "no"),
        (None, "under-18", "yes"),
        (None, "adult", "no"),
        (None, "unknown", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_who_is_under_18_on_the_day_of_the_request(birth_date, age_band, minor):
    assert VALUES["minor"](birth_date, age_band, AT) == minor


APPROVED = {"by": "Sgt. L. Ortega", "at": AT}


@pytest.mark.parametrize(
    ("entry", "approval", "result"),
    [
        ({"answer": "no"}, None, "no"),
        ({"answer": "unknown"}, None, "unknown"),
        ({"answer": "yes"}, APPROVED, "yes"),
        ({"answer": "yes", "override_reason": "x"}, None, "yes"),
        ({"answer": "yes", "override_reason": "x"}, APPROVED, "overridden"),
        ({"answer": "unknown", "override_reason": "x"}, APPROVED, "unknown"),
    ],
)
def test_an_override_counts_only_for_a_yes_that_a_supervisor_approved(entry, approval, result):
    answers = VALUES["exclusion-answers"]([{"criterion": "no-contact-order", **entry}], approval, None, None, AT)
    assert answers["no-contact-order"] == result


def test_a_criterion_nobody_answered_is_unknown():
    assert set(VALUES["exclusion-answers"](None, None, None, None, AT).values()) == {"unknown"}
    listed = FORMAT.schema["properties"]["exclusions"]["items"]["properties"]["criterion"]["enum"]
    assert list(VALUES["exclusion-answers"](None, None, None, None, AT)) == listed


def test_an_age_under_18_outweighs_the_answer_and_the_sender_is_told():
    message = with_value(EXAMPLES[0], ("person", "birth_date"), "2010-01-01")
    taken = take(message)
    assert taken.mapped.routing["exclusions"]["under-18"] == "yes"
    assert [(issue.severity, issue.source) for issue in taken.issues] == [("warning", "/exclusions/0/answer")]


def test_an_override_without_approval_is_told_to_the_sender():
    message = without(EXAMPLES[3], ("officer", "supervisor_approval"))
    taken = take(message)
    assert [(issue.severity, issue.source) for issue in taken.issues] == [("warning", "/exclusions/6/override_reason")]
    assert taken.mapped.routing["exclusions"]["no-contact-order"] == "yes"
    assert take(EXAMPLES[3]).mapped.routing["exclusions"]["no-contact-order"] == "overridden"


@pytest.mark.parametrize("state", ["present", "absent", "unknown"])
def test_who_answers_the_medical_question_is_not_asked_for_it(state):
    assert take({**EXAMPLES[0], "safety_facts": [{"code": "medical-emergency", "state": state}]}).issues == ()


@pytest.mark.parametrize("facts", [None, [], [{"code": "weapon-seen", "state": "absent"}]])
def test_who_does_not_answer_the_medical_question_is_warned_with_the_element(facts):
    message = {name: value for name, value in EXAMPLES[0].items() if name != "safety_facts"}
    taken = take(message if facts is None else {**message, "safety_facts": facts})
    [issue] = taken.issues
    assert (issue.severity, issue.source) == ("warning", "/safety_facts")
    assert any(element.startswith("Flag") for element in issue.expression)
    assert "stops" in issue.text
    assert "medical-emergency" not in taken.mapped.routing.get("safety", {})


@pytest.mark.parametrize("states", [["present", "absent"], ["absent", "present"], ["unknown", "present"]])
def test_of_two_reports_of_a_fact_the_less_safe_one_counts(states):
    facts = [{"code": "weapon-gun", "state": state} for state in states]
    assert VALUES["safety-states"](facts) == {"weapon-gun": "present"}


@pytest.mark.parametrize(
    ("kind", "decision", "status", "claimed"),
    [
        ("status-sharing", "permit", "active", True),
        ("status-sharing", "permit", "revoked", False),
        ("status-sharing", "deny", "active", False),
        ("provider-sharing", "permit", "active", False),
    ],
)
def test_only_an_active_permit_to_share_the_status_is_a_claim_of_one(kind, decision, status, claimed):
    assert VALUES["has-status-consent"]([{"kind": kind, "decision": decision, "status": status}]) is claimed
