"""What the validator promises beyond single faults: odd but valid resources, scopes, bounds, speed, and that it never raises."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.engine import Validator, has_errors, r4
from profiles.facts import r4_facts
from profiles.primitives import PRIMITIVES, not_after
from profiles.run import MAX_ISSUES
from tests.profiles.specimens import BUNDLE, GONE, PATIENT, SERVICE_REQUEST, VALID, broken

LIST_OF_NOTHING = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}

BY_CANONICAL = {"/instantiatesCanonical": ["#q"]}
POINTS_BACK = {
    "resourceType": "Provenance",
    "id": "p",
    "target": [{"reference": "#"}],
    "recorded": "2026-11-24T10:00:00Z",
    "agent": [{"who": {"display": "x"}}],
}

ODD_BUT_VALID = [
    ("PATIENT", "/name/0/given", ["Jo", None], {"/name/0/_given": [None, LIST_OF_NOTHING]}),
    ("PATIENT", "/name/0/given", GONE, {"/name/0/_given": [LIST_OF_NOTHING]}),
    ("PATIENT", "/birthDate", GONE, {"/_birthDate": LIST_OF_NOTHING}),
    ("PATIENT", "/_gender", {"id": "g"}, {}),
    ("PATIENT", "/birthDate", "2024-02-29", {}),
    ("PATIENT", "/birthDate", "2000-02-29", {}),
    ("PATIENT", "/birthDate", "1990", {}),
    ("PATIENT", "/photo/0/data", "aGVs\nbG8=", {}),
    ("PATIENT", "/link", [{"other": {"reference": "#"}, "type": "seealso"}], {}),
    ("SERVICE_REQUEST", "/status", GONE, {"/_status": LIST_OF_NOTHING}),
    ("SERVICE_REQUEST", "/authoredOn", "2016-12-31T23:59:60Z", {}),
    ("SERVICE_REQUEST", "/authoredOn", "2026-11-24T10:00:00.123456789+14:00", {}),
    ("SERVICE_REQUEST", "/category/0", {"text": "in words only"}, {}),
    ("SERVICE_REQUEST", "/category/0", LIST_OF_NOTHING, {}),
    ("SERVICE_REQUEST", "/subject", {"display": "the man in the red coat"}, {}),
    ("SERVICE_REQUEST", "/subject", {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}, {}),
    ("SERVICE_REQUEST", "/encounter/reference", "https://ehr.example/registry?id=7", {}),
    (
        "SERVICE_REQUEST",
        "/contained/0",
        {"resourceType": "PractitionerRole", "id": "officer", "active": True},
        {},
    ),
    (
        "SERVICE_REQUEST",
        "/requester",
        GONE,
        {
            "/contained/0": {
                "resourceType": "Provenance",
                "id": "p",
                "target": [{"reference": "#"}],
                "recorded": "2026-11-24T10:00:00Z",
                "agent": [{"who": {"display": "x"}}],
            }
        },
    ),
    (
        "SERVICE_REQUEST",
        "/requester",
        GONE,
        {"/contained/0": {"resourceType": "Questionnaire", "id": "q", "status": "active"}, **BY_CANONICAL},
    ),
    ("SERVICE_REQUEST", "/extension/0", {"url": "https://example.org/nested", "extension": [{"url": "relative", "valueCode": "a"}]}, {}),
    ("SERVICE_REQUEST", "/modifierExtension", [{"url": "https://example.org/never", "valueBoolean": True}], {}),
    ("SERVICE_REQUEST", "/occurrencePeriod", {"start": "2026-11", "end": "2026-12-01T00:00:00Z"}, {}),
    ("SERVICE_REQUEST", "/occurrencePeriod", {"start": "2026-11-24T23:00:00-08:00", "end": "2026-11-25T07:00:00Z"}, {}),
    ("OBSERVATION", "/referenceRange/0/low/value", Decimal("1E-7"), {}),
    ("OBSERVATION", "/referenceRange/0/low/value", -1.5, {}),
    ("OBSERVATION", "/code/text", "Ünïcödé 🚑 \r\n\t", {}),
    ("OBSERVATION", "/code/text", "\u00a0", {}),
    ("PROVENANCE", "/signature/0/sigFormat", "text/html; charset=utf-8", {}),
    ("BUNDLE", "/entry/2/resource/encounter/reference", "Encounter?identifier=https://example.org|1", {}),
    ("BUNDLE", "/entry/0/fullUrl", GONE, {"/entry/1/resource/subject": {"display": "x"}, "/entry/2/resource/subject": {"display": "x"}}),
]


def changed(specimen, changes):
    made = VALID[specimen]
    for pointer, value in changes.items():
        made = broken(made, pointer, value)
    return made


@pytest.mark.parametrize(("specimen", "pointer", "value", "more"), ODD_BUT_VALID)
def test_what_looks_odd_and_is_valid_passes(specimen, pointer, value, more):
    assert r4().validate(changed(specimen, {pointer: value, **more})) == []


def test_several_faults_make_several_issues_in_one_answer():
    resource = changed("SERVICE_REQUEST", {"/status": "banana", "/authoredOn": "2026-02-30", "/subject": GONE, "/urgency": 1})
    assert {issue.expression[0] for issue in r4().validate(resource)} == {
        "ServiceRequest.status",
        "ServiceRequest.authoredOn",
        "ServiceRequest.subject",
        "ServiceRequest.urgency",
    }


def test_an_entry_may_not_point_into_the_contained_resources_of_another():
    bundle = changed(
        "BUNDLE", {"/entry/0/resource": {**SERVICE_REQUEST, "id": "a"}, "/entry/2/resource/requester": {"reference": "#officer"}}
    )
    assert "Bundle.entry[2].resource.requester.reference" in {issue.expression[0] for issue in r4().validate(bundle)}


def test_a_contained_resource_of_an_entry_must_be_pointed_at_from_that_entry():
    lonely = {**SERVICE_REQUEST, "requester": {"display": "somebody"}}
    bundle = changed("BUNDLE", {"/entry/2/resource": lonely, "/entry/1/resource/subject": {"display": "x"}})
    assert [issue.expression for issue in r4().validate(bundle)] == [("Bundle.entry[2].resource.contained[0]",)]


def test_a_contained_resource_contains_none():
    inner = {"resourceType": "Practitioner", "id": "officer", "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}]}
    found = r4().validate(changed("SERVICE_REQUEST", {"/contained/0": inner}))
    assert ("invariant", ("ServiceRequest.contained[0].contained",)) in {(issue.code, issue.expression) for issue in found}


def test_two_contained_resources_have_two_ids():
    found = r4().validate(changed("SERVICE_REQUEST", {"/contained/1": SERVICE_REQUEST["contained"][0]}))
    assert [issue.expression for issue in found] == [("ServiceRequest.contained[1].id",)]


def test_a_bundle_inside_a_bundle_resolves_its_own_entries():
    outer = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": "urn:uuid:7b4a4a4c-55e2-4b62-8f0b-6b7d2c9e1f1f", "resource": BUNDLE}],
    }
    assert r4().validate(outer) == []


def test_a_required_concept_has_a_coding_of_the_set():
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    other = {"system": "http://snomed.info/sct", "code": "55561003"}

    def codes(concept):
        return [(issue.code, issue.expression[0]) for issue in r4().validate({**condition, "clinicalStatus": concept})]

    assert codes({"coding": [other, {"system": clinical, "code": "active"}]}) == []
    assert codes({"coding": [{"system": clinical, "code": "on"}]}) == [("code-invalid", "Condition.clinicalStatus.coding[0].code")]
    assert codes({"coding": [{"code": "active"}]}) == [("code-invalid", "Condition.clinicalStatus.coding[0].code")]
    assert codes({"coding": [other, other]}) == [("code-invalid", "Condition.clinicalStatus")]
    assert codes({"text": "active"}) == [("code-invalid", "Condition.clinicalStatus")]
    assert codes(LIST_OF_NOTHING) == []


@pytest.mark.parametrize(
    ("earlier", "later", "holds"),
    [
        ("2026", "2026", True),
        ("2026-11-24", "2026-11-24", True),
        ("2026-11", "2027", True),
        ("2027", "2026-11-24", False),
        ("2026", "2026-11", False),
        ("2026-11-24", "2026-11-24T10:00:00Z", False),
        ("2026-11-24T10:00:00Z", "2026-11-24", False),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00.0Z", True),
        ("2026-11-24T10:00:00.001Z", "2026-11-24T10:00:00Z", False),
        ("2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00Z", True),
        ("2026-12-31T23:30:01-01:00", "2027-01-01T00:30:00Z", False),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", False),
        ("2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z", True),
    ],
)
def test_moments_are_ordered_as_far_as_their_precision_goes(earlier, later, holds):
    assert not_after(earlier, later) is holds


def test_a_wished_for_profile_is_checked_or_said_to_be_unchecked():
    assert r4().validate(PATIENT, ["http://hl7.org/fhir/StructureDefinition/Patient"]) == []
    assert has_errors(r4().validate(PATIENT, ["http://hl7.org/fhir/StructureDefinition/Task"]))
    unknown = r4().validate(PATIENT, ["https://example.org/StructureDefinition/mine"])
    assert [(issue.severity, issue.code) for issue in unknown] == [("information", "not-supported")]
    assert not has_errors(unknown)


@pytest.mark.parametrize(
    "root", [None, [], "Patient", 5, True, {}, {"resourceType": None}, {"resourceType": {}}, [{"resourceType": "Patient"}]]
)
def test_what_is_no_resource_is_refused(root):
    assert [issue.code for issue in r4().validate(root)] == ["structure"]


def test_a_flood_of_faults_ends_with_one_last_word():
    found = r4().validate({"resourceType": "Patient", "active": True, **{f"x{index}": 1 for index in range(10_000)}})
    assert len(found) == MAX_ISSUES + 1
    assert found[-1].code == "too-costly"


def test_depth_is_bounded():
    item = {"linkId": "0"}
    for index in range(5_000):
        item = {"linkId": str(index), "item": [item]}
    found = r4().validate({"resourceType": "QuestionnaireResponse", "status": "completed", "item": [item]})
    assert [issue.code for issue in found] == ["too-costly"]


def test_many_threads_may_meet_a_new_validator_at_once():
    fresh = Validator(r4_facts())
    jobs = [fresh.validate] * 64
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda check: check(changed_copy()), jobs))
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 1


def changed_copy():
    return {**SERVICE_REQUEST, "status": "banana"}


def test_a_service_request_is_validated_well_within_its_budget():
    validator = r4()
    validator.validate(SERVICE_REQUEST)
    gc.collect()
    started = time.process_time()
    for _ in range(200):
        validator.validate(SERVICE_REQUEST)
    # The target is 0.3 ms on an idle core, and it takes about a third of it; the rest is for busy machines.
    assert (time.process_time() - started) / 200 < 0.0015


@pytest.mark.parametrize(
    ("primitive", "value"),
    [
        ("code", "a" * 200_000 + " "),
        ("code", "a " * 100_000),
        ("base64Binary", "AAAA" * 100_000 + "*"),
        ("base64Binary", " " * 300_000 + "A"),
        ("uri", "a" * 300_000 + " "),
        ("oid", "urn:oid:1" + ".1" * 100_000 + "x"),
        ("dateTime", "2026-11-24T10:00:00." + "1" * 300_000),
    ],
)
def test_no_value_makes_a_pattern_slow(primitive, value):
    started = time.process_time()
    assert PRIMITIVES[primitive](value) is not None
    assert time.process_time() - started < 0.5


def test_a_long_reference_is_read_in_linear_time():
    started = time.process_time()
    for address in ("A/" * 100_000, "Patient/" * 60_000 + "1", "/" * 300_000, "a" * 300_000 + ":", "https://x/" + "Aa/1/" * 60_000):
        r4().validate({**SERVICE_REQUEST, "subject": {"reference": address}})
    assert time.process_time() - started < 2


ODD_NAMES = {"item", "entry", "resource", "extension", "url", "valueString", "_given", "x"}
ODD_TEXTS = ["", "active", "#", "#a", "2026-02-30", "Patient/1", "urn:", "Bundle", "<div"]
NAMES = st.sampled_from(sorted({key for value in VALID.values() for key in value} | ODD_NAMES))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.sampled_from(ODD_TEXTS)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(r4_facts().resource_types)), tree=st.dictionaries(NAMES, TREES, max_size=6))
def test_no_tree_makes_it_raise(kind, tree):
    for issue in r4().validate({**tree, "resourceType": kind}):
        assert issue.severity == "error"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specimen=st.sampled_from(sorted(VALID)), choice=st.integers(0, 10_000), junk=TREES)
def test_no_graft_onto_a_valid_resource_makes_it_raise(specimen, choice, junk):
    places = list(pointers(VALID[specimen]))
    r4().validate(broken(specimen, places[choice % len(places)], junk))


def pointers(node, prefix=""):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield f"{prefix}/{key}"
        yield from pointers(item, f"{prefix}/{key}")
