"""What belongs to the agency alone stays in resources of class JUSTICE, and the rest of Table D arrives where a provider looks."""

from __future__ import annotations

import json
import time

import pytest

import mappings
from mappings.loading import code_maps
from tests.builders import an_rms_message
from tests.mappings.messages import EXAMPLES, FORMAT, nodes, schema_nodes, take, with_value

CASE, STATUTE, CHARGE = "CASE-4711-XQ", "RCW 9A.99.999", "Possession of a zorkmid"


@pytest.fixture
def message():
    found = an_rms_message(
        probable_cause={
            "offences": [{"nibrs_code": "35A", "statute": STATUTE, "description": CHARGE, "drug": {"type": "L", "amount": 2, "unit": "g"}}]
        }
    )
    found["agency"]["case_number"] = CASE
    return found


def holding(mapped, text):
    """Local names of the resources that hold a text anywhere."""
    return {name for name, resource in mapped.resources.items() if text in json.dumps(resource, default=str)}


@pytest.mark.parametrize("text", [CASE, STATUTE, CHARGE, "nibrs", "35A"])
def test_case_number_and_offences_stand_in_justice_resources_only(message, text):
    mapped = take(message).mapped
    assert holding(mapped, text)
    assert {mappings.data_class(name) for name in holding(mapped, text)} == {"JUSTICE"}
    assert text not in json.dumps(mapped.routing, default=str)


def test_nothing_that_crosses_refers_to_a_justice_resource(message):
    mapped = take(message).mapped
    justice = {name for name in mapped.resources if mappings.data_class(name) == "JUSTICE"}
    referring = {
        name
        for name, resource in mapped.resources.items()
        for _, node in nodes(resource)
        if isinstance(node, str) and node.removeprefix("urn:local:") in justice
    }
    assert referring == {"provenance"}


def test_a_case_number_without_an_offence_is_kept_as_well():
    message = an_rms_message(door="social-contact", probable_cause=None)
    assert take(message).mapped.resources["case"]["valueString"] == message["agency"]["case_number"]


def others(mapped):
    """Everything that is mapped for somebody else than the sender, as text."""
    return json.dumps({name: each for name, each in mapped.resources.items() if mappings.data_class(name) != "JUSTICE"}, default=str)


FREE_TEXTS = {
    "/narrative": ("narrative",),
    "/person/description": ("person", "description"),
    "/person/contact/best_time": ("person", "contact", "best_time"),
    "/person/address/line/0": ("person", "address", "line", 0),
    "/warm_handoff/wait_location": ("warm_handoff", "wait_location"),
    "/contact/location/place": ("contact", "location", "place"),
    "/contact/location/hazards/0": ("contact", "location", "hazards", 0),
    "/related_contacts/0/name/family": ("related_contacts", 0, "name", "family"),
    "/consents/0/information": ("consents", 0, "information"),
    "/consents/0/source/title": ("consents", 0, "source", "title"),
    "/exclusions/0/override_reason": ("exclusions", 0, "override_reason"),
    "/follow_up/name": ("follow_up", "name"),
    "/officer/unit": ("officer", "unit"),
}


@pytest.fixture
def full(message):
    message["person"]["description"] = "Red coat"
    message["person"]["address"] = {"line": ["1 Elm St"]}
    message["consents"] = [{**EXAMPLES[0]["consents"][1], "source": {"content_type": "text/plain", "title": "Form"}}]
    message["exclusions"][0]["override_reason"] = "None"
    return message


@pytest.mark.parametrize("place", FREE_TEXTS)
@pytest.mark.parametrize("text", [CASE, CASE.lower(), "case 4711 xq", "Case4711XQ", "CASE\u20134711\u2013XQ", STATUTE, CHARGE.upper()])
def test_what_stays_with_the_sender_is_removed_wherever_free_text_repeats_it_and_the_sender_is_told(full, place, text):
    taken = take(with_value(full, FREE_TEXTS[place], f"See {text}, north stairs"))
    [issue] = [issue for issue in taken.issues if issue.source == place]
    assert (issue.severity, issue.code) == ("warning", "business-rule")
    assert "removed" in issue.text
    assert issue.expression
    assert text not in others(taken.mapped)
    assert "See [removed], north stairs" in others(taken.mapped)


def test_every_free_text_of_the_schema_is_looked_into():
    texts = [place for place, node in schema_nodes() if node.get("maxLength") in (200, 1000, 8000) and node["type"] == "string"]
    held = {"/probable_cause/offences/*/statute", "/probable_cause/offences/*/description", "/consents/*/source/url"}
    looked_into = set(_free_texts(FORMAT._withholding._texts))
    assert {place for place in texts if place not in held} == looked_into


def _free_texts(texts, place=""):
    for name, below in texts.items():
        yield from _free_texts(below, f"{place}/{name}") if below else [f"{place}/{name}"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{CASE}: {CASE}", "[removed]: [removed]"),
        (f"RPD-{CASE}/2", "RPD-[removed]/2"),
        (f"_{CASE}_", "_[removed]_"),
        (f"{CASE}9", f"{CASE}9"),
        (f"X{CASE}", f"X{CASE}"),
        ("case 4711", "case 4711"),
        (f"He said: {CHARGE}.", "He said: [removed]."),
        (CHARGE.replace(" ", "\n "), "[removed]"),
        ("possession of zorkmids", "possession of zorkmids"),
        (f"{CHARGE}s", f"{CHARGE}s"),
        ("Theft of a bicycle, then theft", "[removed], then [removed]"),
        ("12a", "12a"),
        ("RCW9A.99.999 and rcw 9a.99.9991", "[removed] and rcw 9a.99.9991"),
    ],
)
def test_whole_numbers_and_whole_phrases_are_removed_and_no_less(message, text, left):
    message["probable_cause"]["offences"] += [
        {"description": "Theft", "statute": "12A"},
        {"description": "Theft of a bicycle"},
        {"description": "DUI"},
    ]
    taken = take({**message, "narrative": text})
    assert taken.mapped.resources["request"]["note"][0]["text"] == left
    assert [issue.source for issue in taken.issues] == (["/narrative"] if text != left else [])


def test_raw_message_justice_resources_and_routing_keep_what_is_removed_elsewhere(message):
    message["warm_handoff"]["wait_location"] = f"Desk 2, {CASE}"
    taken = take(message)
    assert taken.source["warm_handoff"]["wait_location"] == f"Desk 2, {CASE}"
    assert taken.mapped.routing["warm_handoff"]["wait_location"] == f"Desk 2, {CASE}"
    assert taken.mapped.resources["case"]["valueString"] == CASE
    assert taken.mapped.resources["offence-1"]["valueCodeableConcept"]["text"] == CHARGE


def test_numbers_and_codes_are_no_free_text(message):
    message["agency"]["case_number"] = "2026"
    message["request_number"], message["agency"]["incident_number"] = "RPD-2026-1", "CAD-2026-7"
    mapped = take(message).mapped
    assert mapped.resources["request"]["identifier"][0]["value"] == "RPD-2026-1"
    assert mapped.resources["encounter"]["identifier"][0]["value"] == "CAD-2026-7"
    assert mapped.resources["encounter"]["period"]["start"].startswith("2026-")


def test_one_offence_may_repeat_another(message):
    message["probable_cause"]["offences"] += [{"description": f"{CHARGE}, second count", "statute": f"{STATUTE}(2)"}]
    taken = take(message)
    assert taken.issues == ()
    assert taken.mapped.resources["offence-2"]["valueCodeableConcept"]["text"] == f"{CHARGE}, second count"


def test_a_text_full_of_gaps_costs_no_more_than_its_length(message):
    message["agency"]["case_number"] = "1" * 64
    message["narrative"] = ("1 - " * 40 + "\n") * 49
    started = time.process_time()
    take(message)
    assert time.process_time() - started < 2


def test_every_resource_of_the_table_has_a_data_class():
    assert {resource.name: resource.data_class for resource in FORMAT.table.resources if resource.type} == {
        "patient": "DEMO",
        "related": "RELATED",
        "location": "PLACE",
        "encounter": "LOGI",
        "request": "REFERRAL",
        "consent": "CONSENT",
        "screening": "SCREEN",
        "safety": "SAFETY",
        "case": "JUSTICE",
        "offence": "JUSTICE",
        "provenance": "PROVENANCE",
    }
    assert mappings.data_class("consent-12") == "CONSENT"
    with pytest.raises(KeyError):
        mappings.data_class("nobody")


def test_the_screening_says_who_answered_each_exclusion_and_when():
    message = EXAMPLES[3]
    items = [item for item in take(message).mapped.resources["screening"]["item"] if item["linkId"] == "exclusion"]
    for item, asked in zip(items, message["exclusions"], strict=True):
        answers = {child["linkId"].rpartition("/")[2]: child["answer"][0] for child in item["item"]}
        assert answers["criterion"]["valueCoding"]["code"] == asked["criterion"]
        assert answers["answer"]["valueCoding"]["code"] == asked["answer"]
        assert answers["answered-by"] == {"valueString": asked["answered_by"]}
        assert answers["answered-at"] == {"valueDateTime": asked["answered_at"]}
        assert answers.get("override-reason", {}).get("valueString") == asked.get("override_reason")


def test_every_answer_of_the_screening_is_one_the_questionnaire_offers():
    questionnaire = json.loads((mappings.loading.resources.files("mappings") / "rms-diversion" / "questionnaire.json").read_text())
    offered = {node["linkId"]: node for _, node in nodes(questionnaire) if isinstance(node, dict) and "linkId" in node}
    maps = {"exclusion/criterion": "exclusion", "safety/fact": "safety-facts", "police-action/what": "police-action"}
    maps |= {"police-disposition": "police-disposition", "consent/kind": "consent-kind", "safety/state": "fact-state"}
    maps |= {"exclusion/answer": "answer", "agreement-to-talk": "answer"}
    for link, name in maps.items():
        options = {(option["valueCoding"]["system"], option["valueCoding"]["code"]) for option in offered[link]["answerOption"]}
        given = {(coding["system"], coding["code"]) for coding in code_maps()[name].forms["coding"].values()}
        assert given <= options
    given = {
        node["linkId"]
        for example in EXAMPLES
        for _, node in nodes(take(example).mapped.resources["screening"])
        if isinstance(node, dict) and "linkId" in node
    }
    assert given == set(offered)


def test_officer_agency_and_place_stand_in_the_encounter():
    message = EXAMPLES[0]
    encounter = take(message).mapped.resources["encounter"]
    officer = encounter["participant"][0]["individual"]
    assert (officer["display"], officer["identifier"]["value"]) == (message["officer"]["name"], message["officer"]["badge"])
    assert encounter["serviceProvider"]["identifier"]["value"] == message["agency"]["ori"]
    assert encounter["location"] == [{"location": {"reference": "urn:local:location"}}]
    assert [identifier["value"] for identifier in encounter["identifier"]] == [message["agency"]["incident_number"]]


def test_a_consent_is_a_claim_with_its_source_and_what_the_person_was_told():
    stated = EXAMPLES[0]["consents"][1]
    consent = take(EXAMPLES[0]).mapped.resources["consent-2"]
    assert consent["verification"] == [{"verified": False}]
    assert consent["sourceAttachment"]["hash"] == stated["source"]["hash"]
    assert consent["provision"]["type"] == "permit"
    assert [actor["reference"]["reference"] for actor in consent["provision"]["actor"]] == ["urn:local:sender"]
    assert [entry["reference"] for entry in consent["organization"]] == [f"Organization/{key}" for key in stated["discloses"]]
    assert consent["policy"][0]["uri"].endswith("rights-and-consequences-told/1.0.0")
    assert "told of the right to revoke: yes" in consent["policyRule"]["text"]


@pytest.mark.parametrize("kind", ["status-sharing", "provider-sharing"])
def test_a_consent_that_names_no_recipient_has_none(kind):
    consent = {name: value for name, value in EXAMPLES[0]["consents"][1].items() if name != "recipients"}
    made = take({**EXAMPLES[0], "consents": [{**consent, "kind": kind}]}).mapped.resources["consent-1"]
    assert "actor" not in made["provision"]


def test_a_consent_ends_at_an_event_where_it_has_no_date():
    [extension] = take(EXAMPLES[3]).mapped.resources["consent-1"]["extension"]
    assert extension["valueString"] == EXAMPLES[3]["consents"][0]["expires_event"]


def test_only_facts_that_are_so_become_flags_and_all_are_in_the_screening():
    mapped = take(EXAMPLES[0]).mapped
    assert [name for name in mapped.resources if name.startswith("safety")] == ["safety-3"]
    assert len([item for item in mapped.resources["screening"]["item"] if item["linkId"] == "safety"]) == 3
    assert mapped.routing["safety"] == {"weapon-seen": "absent", "medical-emergency": "absent", "aggressive-dog": "present"}


def test_an_unidentified_person_is_normal():
    patient = take(EXAMPLES[1]).mapped.resources["patient"]
    [name] = patient["name"]
    assert name["text"] == "Unidentified person"
    assert name["extension"][0]["valueCode"] == "unknown"
    assert "birthDate" not in patient
    # US Core wants an identifier: the request names the person until the agency has a number for them
    assert [identifier["value"] for identifier in patient["identifier"]] == [EXAMPLES[1]["request_number"]]


def test_a_warm_hand_off_reaches_provider_and_routing():
    mapped = take(EXAMPLES[0]).mapped
    stated = EXAMPLES[0]["warm_handoff"]
    [note] = [note["text"] for note in mapped.resources["request"]["note"] if note["text"].startswith("Warm hand-off")]
    assert all(stated[name] in note for name in ("wait_location", "wait_until", "phone"))
    assert mapped.routing["warm_handoff"] == stated
    assert mapped.resources["request"]["occurrencePeriod"]["end"] == stated["wait_until"]


def test_no_hand_off_note_is_written_where_none_is_asked_for():
    message = an_rms_message(warm_handoff={"requested": False, "wait_location": "Somewhere"})
    assert not any("Warm" in note["text"] for note in take(message).mapped.resources["request"].get("note", ()))


# Field list of a real records system's crisis template, as codes of ours (Seattle, by the RideAlong application).
TEMPLATE = {
    "/behaviors": 14,
    "/nature": 4,
    "/police_response/actions": 10,
}


@pytest.mark.parametrize(("place", "count"), TEMPLATE.items())
def test_a_real_crisis_template_finds_a_code_for_each_of_its_fields(place, count):
    node = FORMAT.schema
    for step in place.split("/")[1:]:
        node = node["properties"][step]
    assert len(node["items"]["enum"]) == count


def test_a_real_crisis_template_finds_a_code_for_each_way_a_contact_ends():
    assert len(FORMAT.schema["properties"]["police_response"]["properties"]["disposition"]["enum"]) == 14
