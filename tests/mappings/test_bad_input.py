"""What is wrong with a message is told fault by fault, each with its field and the FHIR element it would have fed."""

from __future__ import annotations

import copy
import json

import pytest

from gateway.errors import Failure, Invalid, Malformed, TooCostly, TooLarge
from tests.mappings.messages import EXAMPLES, at, leaves, nodes, pointer, schema_of, take, with_value, without

FULL, COMMUNITY = EXAMPLES[0], EXAMPLES[3]
RAW = json.dumps(FULL)


def refused(message, *, strict=False, as_=Invalid):
    """The issues of a refusal: field, code and elements, in order of the answer."""
    with pytest.raises(as_) as caught:
        take(message, strict=strict)
    assert type(caught.value) is as_
    issues = caught.value.issues
    places = [(issue.source, issue.code) for issue in issues]
    assert len(set(places)) == len(places), "one fault is one issue"
    assert json.loads(json.dumps([issue.as_json() for issue in issues]))
    return issues


def of_another_type(value):
    """A value no field of the same JSON type would take."""
    if isinstance(value, bool):
        return "true"
    if isinstance(value, str):
        return 7
    return "7"


WRONG = [{"x": 1}, [], None]
PLACES = list({pointer(steps): (message, steps) for message in (COMMUNITY, FULL) for steps, _ in leaves(message)}.values())


@pytest.mark.parametrize(("message", "steps"), PLACES, ids=[f"{m['request_number']}{pointer(s)}" for m, s in PLACES])
def test_a_wrong_type_at_any_field_is_one_fault_at_that_field_with_its_element(message, steps):
    for wrong in [of_another_type(at(message, pointer(steps))), *WRONG]:
        issues = refused(with_value(message, steps, wrong))
        told = [issue for issue in issues if issue.source == pointer(steps)]
        assert [issue.severity for issue in told] == ["error"], wrong
        assert all(issue.expression for issue in told), wrong


CONTAINERS = [steps for steps, node in nodes(FULL) if isinstance(node, (dict, list)) and steps]


@pytest.mark.parametrize("steps", CONTAINERS, ids=pointer)
@pytest.mark.parametrize("wrong", ["text", 7, True, None, [[]], {"x": []}], ids=repr)
def test_a_wrong_type_in_place_of_an_object_or_list_is_told_at_it_or_below_it(steps, wrong):
    message = with_value(FULL, steps, wrong)
    right = {"object": dict, "array": list}[schema_of(steps)["type"]]
    if isinstance(wrong, right) and not _needs_something(steps):
        take(message)
        return
    issues = refused(message)
    below = [issue for issue in issues if (issue.source or "").startswith(pointer(steps))]
    assert below
    assert all(issue.expression for issue in issues if issue.source)


def _needs_something(steps):
    """Whether an object with one unknown field, or a list with one empty list, is wrong at this place."""
    node = schema_of(steps)
    return node["type"] == "array" or bool(node.get("required")) or "if" in node


REQUIRED = [(*steps, name) for steps, node in nodes(FULL) if isinstance(node, dict) for name in schema_of(steps).get("required", ())]


@pytest.mark.parametrize("steps", REQUIRED, ids=pointer)
def test_a_missing_required_field_is_named(steps):
    [issue] = refused(without(FULL, steps))
    assert (issue.source, issue.code) == (pointer(steps), "required")
    assert issue.expression


OPTIONAL = [
    (number, steps)
    for number, message in enumerate(EXAMPLES)
    for steps, _ in nodes(message)
    if steps and isinstance(steps[-1], str) and steps[-1] not in schema_of(steps[:-1]).get("required", ())
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_any_field_that_is_not_required_may_be_missing(number):
    # beside the amount stands its unit; a person is named or is unidentified; an object of the place has something in it
    needed = ("/drug/unit", "/person/name", "/person/identifier", "/person/unidentified", "/contact/location/address")
    for steps in (steps for index, steps in OPTIONAL if index == number):
        if not pointer(steps).endswith(needed):
            take(without(EXAMPLES[number], steps))


@pytest.mark.parametrize(
    ("change", "source", "code"),
    [
        ({"person": {"unidentified": False}}, "/person/name", "required"),
        ({"person": {}}, "/person/identifier", "required"),
        ({"person": {"unidentified": True, "name": {"family": "Marsh"}}}, "/person/name", "business-rule"),
        (
            {"probable_cause": {"offences": [{"description": "x", "drug": {"type": "L", "amount": 2}}]}},
            "/probable_cause/offences/0/drug/unit",
            "required",
        ),
        ({"agreement_to_talk": {}}, "/agreement_to_talk/answer", "required"),
        ({"contact": {"started_at": "2026-11-24T02:02:00-08:00", "location": {}}}, "/contact/location", "required"),
    ],
)
def test_what_fields_need_of_each_other_is_told_at_the_field(change, source, code):
    issues = refused({**FULL, **change})
    assert (source, code) in {(issue.source, issue.code) for issue in issues}
    assert all(issue.expression for issue in issues)


@pytest.mark.parametrize(
    "instant",
    [
        "2026-02-30T10:00:00-08:00",
        "2026-11-24T25:61:00-08:00",
        "0000-11-24T10:00:00-08:00",
        "2026-13-01T10:00:00-08:00",
        "2026-11-31T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2026-11-24T10:00:00+23:00",
        "2026-11-24T10:00:00-08:60",
        "2026-11-24T10:00:00",
        "2026-11-24 10:00:00Z",
        "2026-11-24",
        "20261124T100000Z",
        "2026-11-24T10:00:00z",
        "２０２６-11-24T10:00:00Z",
        "2026-11-24T10:00:00Z\n",
        "1764000000",
        "",
        "never",
    ],
)
@pytest.mark.parametrize("place", ["/requested_at", "/contact/started_at", "/exclusions/3/answered_at", "/safety_facts/0/at"])
def test_an_instant_that_does_not_exist_is_one_fault_at_its_field(instant, place):
    steps = [int(step) if step.isdigit() else step for step in place.split("/")[1:]]
    [issue] = refused(with_value(FULL, tuple(steps), instant))
    assert (issue.severity, issue.code, issue.source) == ("error", "value", place)
    assert issue.expression


def test_an_instant_past_the_last_year_is_a_fault_and_no_crash():
    [issue] = refused(with_value(FULL, ("contact", "started_at"), "9999-12-31T23:59:59-14:00"))
    assert issue.source == "/contact/started_at"


@pytest.mark.parametrize(
    "day", ["2026-02-30", "1999-00-10", "1999-13", "0000", "0000-01-01", "1999-1-1", "01/02/1999", "1999-01-01T00:00:00Z"]
)
def test_a_date_that_does_not_exist_is_one_fault_at_its_field(day):
    [issue] = refused(with_value(FULL, ("person", "birth_date"), day))
    assert (issue.source, issue.expression) == ("/person/birth_date", ("Patient.birthDate",))


@pytest.mark.parametrize("day", ["1994", "1994-05", "1996-02-29"])
def test_a_birth_date_may_be_partial(day):
    assert take(with_value(FULL, ("person", "birth_date"), day)).mapped.resources["patient"]["birthDate"] == day


@pytest.mark.parametrize(
    ("steps", "value", "source"),
    [
        (("contact", "started_at"), "2026-11-24T04:00:00-08:00", "/requested_at"),
        (("contact", "ended_at"), "2026-11-24T01:00:00-08:00", "/contact/ended_at"),
        (("warm_handoff", "wait_until"), "2026-11-24T01:00:00-08:00", "/warm_handoff/wait_until"),
        (("person", "birth_date"), "2027-01-01", "/requested_at"),
        (("consents", 0, "expires"), "2026-01-01", "/consents/0/expires"),
        (("person", "birth_date"), "1850", "/person/birth_date"),
    ],
)
def test_times_that_contradict_each_other_are_told_at_the_later_one(steps, value, source):
    issues = refused(with_value(FULL, steps, value))
    assert source in {issue.source for issue in issues}
    assert all(issue.expression for issue in issues)


def _too_long(steps):
    node = schema_of(steps)
    return "x" * (node["maxLength"] + 1) if "maxLength" in node else None


@pytest.mark.parametrize("steps", [steps for steps, value in leaves(FULL) if isinstance(value, str) and _too_long(steps)], ids=pointer)
def test_a_text_over_its_limit_is_too_long(steps):
    [issue] = refused(with_value(FULL, steps, _too_long(steps)))
    assert (issue.source, issue.code) == (pointer(steps), "too-long")


def test_a_text_at_its_limit_is_taken():
    assert take({**FULL, "narrative": "é" * 8000})
    assert take(with_value(FULL, ("officer", "name"), "\U0001f600" * 200))


@pytest.mark.parametrize("steps", [steps for steps, node in nodes(FULL) if isinstance(node, list)], ids=pointer)
def test_a_list_over_its_limit_is_too_long(steps):
    entry = at(FULL, pointer(steps))[0]
    issues = refused(with_value(FULL, steps, [copy.deepcopy(entry) for _ in range(schema_of(steps)["maxItems"] + 1)]))
    assert (pointer(steps), "too-long") in {(issue.source, issue.code) for issue in issues[:2]} | {(i.source, i.code) for i in issues}


@pytest.mark.parametrize("text", ["", " ", "\t", "\u00a0", "\u2003\u3000", "a\u0000b", "a\u001bb", "a\u007fb", "line\nline"])
def test_a_line_that_is_blank_or_holds_control_characters_is_refused(text):
    [issue] = refused(with_value(FULL, ("officer", "name"), text))
    assert issue.source == "/officer/name"


@pytest.mark.parametrize("text", ["", "  \n\t", "\u00a0", "a\u0000b", "a\u000bb"])
def test_a_narrative_that_is_blank_or_holds_control_characters_is_refused(text):
    [issue] = refused({**FULL, "narrative": text})
    assert (issue.source, issue.expression[0]) == (
        "/narrative",
        "ServiceRequest.note[0].text" if text.strip() else "ServiceRequest.note.text",
    )


@pytest.mark.parametrize("place", ["/narrative", "/officer/name", "/contact/location/place", "/person/name/given/0"])
@pytest.mark.parametrize("text", ["urn:local:patient", " urn:local:nobody", "urn:local:sender"])
def test_a_text_that_would_be_taken_for_a_reference_of_ours_is_refused(place, text):
    steps = tuple(int(step) if step.isdigit() else step for step in place.split("/")[1:])
    [issue] = refused(with_value(FULL, steps, text))
    assert issue.source == place


@pytest.mark.parametrize("number", ["urn:local:patient", "R-1\n", "-1", "a" * 65, "R 1", ""])
def test_a_request_number_is_a_plain_key(number):
    [issue] = refused({**FULL, "request_number": number})
    assert issue.source == "/request_number"


UNKNOWN = {
    (): ("shift", "night"),
    ("officer",): ("rank", "Sgt."),
    ("contact", "location", "address"): ("floor", {"of": ["three", 4]}),
    ("exclusions", 2): ("remark", "asked twice"),
    ("consents", 1, "source"): ("a/b~c", 1),
}


def with_unknown_fields():
    message = FULL
    for steps, (name, value) in UNKNOWN.items():
        message = with_value(message, (*steps, name), value)
    return message


PLACES_OF_UNKNOWN = {pointer((*steps, name)) for steps, (name, _) in UNKNOWN.items()}


def test_strict_handling_refuses_each_field_the_schema_does_not_know():
    issues = refused(with_unknown_fields(), strict=True)
    assert {issue.source for issue in issues} == PLACES_OF_UNKNOWN
    assert {issue.severity for issue in issues} == {"error"}
    assert all(issue.expression == () for issue in issues)


def test_lenient_handling_takes_the_message_and_names_each_field_it_did_not_use():
    taken = take(with_unknown_fields())
    assert {issue.source for issue in taken.issues} == PLACES_OF_UNKNOWN
    assert {issue.severity for issue in taken.issues} == {"information"}
    assert set(taken.mapped.unused) == {
        place + below for place in PLACES_OF_UNKNOWN for below in (("/of/0", "/of/1") if place.endswith("floor") else ("",))
    }


def test_faults_of_every_kind_are_told_at_once():
    message = with_value(FULL, ("door",), "window")
    message = with_value(message, ("agency", "ori"), "WA017")
    message = with_value(message, ("exclusions", 4, "answer"), "maybe")
    message = without(message, ("agreement_to_talk", "answer"))
    message = with_value(message, ("contact", "started_at"), "2026-02-30T10:00:00Z")
    assert {(issue.source, issue.code, issue.expression[0]) for issue in refused(message, strict=True)} == {
        ("/door", "code-invalid", "ServiceRequest.category"),
        ("/agency/ori", "value", "Encounter.serviceProvider.identifier.value"),
        ("/exclusions/4/answer", "code-invalid", "QuestionnaireResponse.item.item.answer.valueCoding"),
        ("/agreement_to_talk/answer", "required", "QuestionnaireResponse.item.answer.valueCoding"),
        ("/contact/started_at", "value", "Encounter.period.start"),
    }


def test_a_criterion_answered_twice_is_refused():
    message = with_value(FULL, ("exclusions", 7, "criterion"), "under-18")
    [issue] = refused(message)
    assert (issue.source, issue.code) == ("/exclusions/7/criterion", "duplicate")


def test_no_issue_repeats_a_value_of_the_message():
    secret = "Zebrafish Quartz"
    faulty = FULL
    for steps, value in leaves(FULL):
        if isinstance(value, str):
            faulty = with_value(faulty, steps, f"{secret}\u0000")
    told = json.dumps([issue.as_json() for issue in refused(faulty)])
    assert "Zebrafish" not in told


@pytest.mark.parametrize(
    ("body", "failure", "source"),
    [
        (b"", Malformed, ""),
        (b"{", Malformed, ""),
        (b"null", Malformed, None),
        (b'"text"', Malformed, None),
        (b"[]", Malformed, None),
        (b"\xff\xfe{\x00}\x00", Malformed, ""),
        (b"\xef\xbb\xbf{}", Malformed, ""),
        (RAW.encode().replace(b"Whitfield", b"Whit\xffield", 1), Malformed, ""),
        (RAW.replace('"revision": 1', '"revision": 1, "revision": 1').encode(), Malformed, "/revision"),
        (RAW.replace('"badge"', '"name"').encode(), Malformed, "/officer/name"),
        (RAW.replace("47.48201", "NaN").encode(), Malformed, ""),
        (RAW.replace("47.48201", "-Infinity").encode(), Malformed, ""),
        (RAW.replace("47.48201", "1e99999").encode(), Malformed, ""),
        (RAW.replace("47.48201", "4" * 5000).encode(), Malformed, ""),
        (RAW.replace("47.48201", "0." + "0" * 5000 + "1").encode(), Malformed, ""),
        (RAW.replace("Dana", "\\ud83d").encode(), Malformed, "/officer/name"),
        (b'{"x": ' + b"[" * 64 + b"]" * 64 + b"}", TooCostly, ""),
        (b"[" * 1_000_000, TooCostly, ""),
        (b'{"a":' * 100_000, TooCostly, ""),
        (json.dumps({"x": [0] * 120_000}).encode(), TooLarge, ""),
    ],
    ids=range(20),
)
def test_a_body_that_cannot_be_read_safely_is_refused_as_a_whole(body, failure, source):
    with pytest.raises(failure) as caught:
        take(body)
    assert type(caught.value) is failure
    assert [issue.source for issue in caught.value.issues] == [source]


@pytest.mark.parametrize("literal", ["1e400", "-1e400", "123456789012345678901234567890", "1E-400", "91", "-90.0000000001"])
def test_a_number_out_of_its_range_is_told_at_its_field(literal):
    body = RAW.replace("47.48201", literal).encode()
    if literal == "1E-400":
        take(body)
        return
    assert [(issue.source, issue.code) for issue in refused(body)] == [("/contact/location/coordinates/latitude", "value")]


@pytest.mark.parametrize("literal", ["47.4820100", "47.482010000000000000000000000000001", "4.748201e1", "47"])
def test_a_number_keeps_the_digits_it_came_with(literal):
    mapped = take(RAW.replace("47.48201", literal).encode()).mapped
    assert str(mapped.resources["location"]["position"]["latitude"]) in (literal, "47.48201")


@pytest.mark.parametrize("literal", ["1.5", "true", '"1"', "0", "-1", "10000000000000000000000000000"])
def test_a_revision_is_a_whole_number_within_its_range(literal):
    body = RAW.replace('"revision": 1', f'"revision": {literal}').encode()
    [issue] = refused(body)
    assert issue.source == "/revision"
    assert issue.expression == ("Provenance.activity",)


@pytest.mark.parametrize("literal", ["1.0", "1e0", "1"])
def test_a_revision_may_be_written_as_json_writes_whole_numbers(literal):
    taken = take(RAW.replace('"revision": 1', f'"revision": {literal}').encode())
    assert (taken.revision, type(taken.revision)) == (1, int)
    assert taken.mapped.resources["provenance"]["activity"]["coding"][0]["code"] == "CREATE"


def test_a_message_of_nothing_but_faults_is_answered_in_bounds():
    entry = {"criterion": 1, "answer": 1, "answered_by": 1, "answered_at": 1}
    with pytest.raises(Failure) as caught:
        take({**FULL, "exclusions": [entry] * 5000})
    assert len(caught.value.issues) == 200
