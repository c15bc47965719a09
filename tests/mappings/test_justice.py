"""What belongs to the agency alone stays in resources of class JUSTICE, and the rest of Table D arrives where a provider looks."""

from __future__ import annotations

import json

import pytest

import mappings
from mappings.loading import code_maps
from tests.builders import an_rms_message
from tests.mappings.messages import EXAMPLES, FORMAT, nodes, take

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


@pytest.mark.parametrize("place", ["/narrative", "/person/description", "/warm_handoff/wait_location"])
@pytest.mark.parametrize("text", [CASE, CASE.lower(), STATUTE, CHARGE.upper()])
def test_the_sender_is_warned_where_text_for_the_provider_repeats_them(message, place, text):
    holder = {"/narrative": message, "/person/description": message["person"], "/warm_handoff/wait_location": message["warm_handoff"]}[
        place
    ]
    holder[place.rpartition("/")[2]] = f"See {text}, north stairs."
    [issue] = take(message).issues
    assert (issue.severity, issue.code, issue.source) == ("warning", "business-rule", place)


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
