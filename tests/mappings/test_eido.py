"""An EIDO as R4: who is the person and who is not, where the person is and where only the call was, what is said and what stays."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path

import jsonschema_rs
import pytest

import mappings
from gateway.errors import Failure, Invalid
from gateway.referral.reading import read_message
from mappings.checker import resolve
from mappings.loading import code_maps
from mappings.message_check import compile_schema
from mappings.readers.eido import READERS
from mappings.readers.markup import text_of
from mappings.rules import walk
from profiles.models import parse_with_models
from tests.mappings import test_fuzz
from tests.mappings.eido import (
    AT,
    EXAMPLES,
    FORMAT,
    INCIDENT,
    SCHEMA,
    TRANSFER,
    UPDATE,
    VALIDATOR,
    changed,
    component,
    needs_sample,
    of_type,
    resources,
    take,
    the_sample,
    with_part,
)
from tests.mappings.messages import at as value_at
from tests.mappings.messages import errors_of, leaves, nodes
from tests.mappings.test_schema import field

RULES = [(rule, repeats) for resource in FORMAT.table.resources for rule, _, repeats in walk(resource.group)]
VIEW = json.loads((Path(mappings.__file__).parent / "eido" / "view.json").read_text(encoding="utf-8"))
LOCATION = INCIDENT["locationComponent"][0]


def issues(message, **more):
    return [(issue.severity, issue.code, issue.source) for issue in take(message, **more).issues]


def dumped(message):
    return json.dumps(take(message).mapped.resources, default=str)


def schema_nodes(node=SCHEMA, place=""):
    found = resolve(SCHEMA, node)
    yield place, found
    for name, child in found.get("properties", {}).items():
        yield from schema_nodes(child, f"{place}/{name}")
    if "items" in found:
        yield from schema_nodes(found["items"], f"{place}/*")


FIELDS = dict(schema_nodes())


# --- the published schema and its examples ---


def test_the_schema_is_one():
    jsonschema_rs.meta.validate({name: member for name, member in SCHEMA.items() if name != "examples"})


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node.get("type") == "string"])
def test_every_text_has_a_longest(place):
    assert {"enum", "maxLength"} & FIELDS[place].keys()


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node.get("type") == "array"])
def test_every_list_has_a_most(place):
    assert "maxItems" in FIELDS[place]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("message", EXAMPLES[:2], ids=["transfer", "incident"])
def test_a_published_example_is_accepted_as_it_is(message, strict):
    assert take(message, strict=strict).issues == ()


def test_an_update_alone_is_accepted_and_names_what_it_only_refers_to():
    assert {issue[:2] for issue in issues(UPDATE, strict=True)} == {("warning", "not-found")}


@pytest.mark.parametrize("message", EXAMPLES, ids=["transfer", "incident", "update"])
def test_a_published_example_becomes_resources_without_a_fault(message):
    mapped = take(message).mapped
    for resource in mapped.resources.values():
        assert errors_of(resource) == []
        parse_with_models(resource)


@pytest.mark.parametrize("message", EXAMPLES, ids=["transfer", "incident", "update"])
def test_what_the_reader_makes_is_what_its_schema_says(message):
    assert list(compile_schema(VIEW)(READERS["eido"].view(message).tree)) == []


def test_every_rule_is_reached():
    messages = [*EXAMPLES, *map(of_type, ("WEAPON", "MTLV", "OD", "SUICTHRT"))]
    messages.append(changed(INCIDENT, lambda found: found["incidentComponent"].update(incidentStatusCommonRegistryText=["Cancelled"])))
    messages.append(changed(TRANSFER, lambda found: found.update(personComponent=[])))
    messages.append(changed(INCIDENT, lambda found: [found.pop(name) for name in ("callComponent", "incidentComponent")]))
    messages += [with_roles("Patient"), located(pidf("<ca:civicAddress><ca:A3>Riverton</ca:A3></ca:civicAddress>"))]
    messages.append(with_sip(TRANSFER, "Caller"))
    messages.append(with_sip(TRANSFER, "Patient"))
    address = pidf(
        "<ca:civicAddress><ca:country>US</ca:country><ca:A1>WA</ca:A1><ca:A2>R</ca:A2><ca:A3>Riverton</ca:A3>"
        "<ca:PC>98057</ca:PC><ca:RD>Alder</ca:RD></ca:civicAddress>"
    )
    messages.append(
        with_part(TRANSFER, "locationComponent", a_location("other", "Other", address, locationDescriptionText="Behind the store"))
    )
    reached = {row.rule for message in messages for row in FORMAT.apply(message).trace}
    assert {rule.id for rule, _ in RULES} - reached == set()


@pytest.mark.parametrize("message", EXAMPLES, ids=["transfer", "incident", "update"])
def test_the_trace_leads_every_copied_value_back_to_where_it_stood(message):
    taken = take(message)
    mapped, copied = taken.mapped, {rule.id for rule, _ in RULES if rule.sources and not rule.function and not rule.code_map}
    made = {f"{name}:{resource['resourceType']}": resource for name, resource in mapped.resources.items()}
    checked = 0
    for row in mapped.trace:
        root, _, path = row.target.partition(".")
        if row.source is None or row.rule not in copied or root not in made:
            continue
        value, came_from = made[root], value_at(taken.source, row.source)
        for step in re.findall(r"[A-Za-z]+|\d+", path):
            value = value[int(step)] if step.isdecimal() else value[step]
        assert str(value).casefold() in str(came_from).casefold()
        checked += 1
    assert checked > 10


def test_every_code_a_map_translates_is_of_the_published_registry():
    for rule, repeats in RULES:
        if rule.code_map and rule.sources:
            node = VIEW
            for step in field(rule.sources[0], repeats).split("/")[1:]:
                node = resolve(VIEW, node)
                node = node["items"] if step == "*" else node["properties"][step]
            node = resolve(VIEW, node)
            codes = node.get("enum") or resolve(VIEW, node.get("items", {})).get("enum", ())
            assert all(code_maps()[rule.code_map].knows(code) for code in codes), rule.id


# --- NENA's own sample: a call, one person whose role is caller, no incident ---


@needs_sample
@pytest.mark.parametrize("strict", [True, False])
def test_nenas_sample_is_taken_as_it_is(strict):
    taken = take(the_sample(), strict=strict)
    assert taken.key == "urn:emergency:uid:incidentid:a56e556d871:bcf.state.pa.us"
    assert [errors_of(resource) for resource in taken.mapped.resources.values() if errors_of(resource)] == []
    assert [(issue.severity, issue.source) for issue in taken.issues] == [("information", "/locationComponent/1/locationByReferenceUrl")]


@needs_sample
def test_in_nenas_sample_the_person_is_unidentified_and_the_caller_is_the_caller():
    [patient] = resources(the_sample(), "Patient")
    [caller] = resources(the_sample(), "RelatedPerson")
    assert patient["name"][0]["text"] == "Unidentified person"
    assert "telecom" not in patient
    assert "address" not in patient
    assert caller["relationship"][0]["coding"][0]["code"] == "caller"
    assert caller["telecom"] == [{"system": "phone", "value": "8195551212"}]


@needs_sample
def test_in_nenas_sample_the_routing_location_is_of_the_call_and_nobodys_place():
    resources_ = take(the_sample()).mapped.resources
    [location] = [resource for resource in resources_.values() if resource["resourceType"] == "Location"]
    assert location["type"][0]["coding"][0]["code"] == "routing"
    assert location["address"] == {"country": "US", "state": "DE", "city": "Wilmington"}
    assert "Cellular" not in json.dumps(resources_)
    assert "location" not in resources_["encounter"]
    assert "locationReference" not in resources_["request"]


@needs_sample
def test_in_nenas_sample_call_and_agency_are_named():
    resources_ = take(the_sample()).mapped.resources
    encounter, provenance = resources_["encounter"], resources_["provenance"]
    assert [identifier["value"] for identifier in encounter["identifier"]] == [the_sample()["$id"], the_sample()["callComponent"][0]["$id"]]
    assert (encounter["class"]["code"], encounter["status"]) == ("VR", "in-progress")
    assert encounter["period"] == {"start": "2021-04-30T14:40:00.0-04:00"}
    assert encounter["statusHistory"][0]["period"]["end"] == "2021-04-30T14:42:00.0-04:00"
    author, assembler = provenance["agent"]
    assert (author["who"]["reference"], author["who"]["identifier"]["value"]) == ("urn:local:sender", "state.pa.us")
    assert assembler["who"]["identifier"]["value"] == "idx.state.pa.us"
    assert provenance["recorded"] == "2021-04-30T14:43:49.439-04:00"


@needs_sample
def test_nenas_sample_becomes_an_offer_to_a_mobile_team(gateway):
    answer = gateway.as_cad.hand_over(the_sample())
    assert (answer.status_code, answer.json["status"]) == (201, "received")
    gateway.work()
    ehr = gateway.as_juniper_ehr
    task = ehr.the_task()
    assert ehr.get(f"/fhir/{task['for']['reference']}").json["name"][0]["text"] == "Unidentified person"


# --- persons ---


def with_roles(*roles):
    return changed(TRANSFER, lambda found: found["personComponent"][0].update(personIncidentRoleRegistryText=list(roles)))


def with_sip(message, role):
    found = changed(message, lambda found: found["callbackComponent"][0].update(callBackInformationUri=["sip:a@osp.example"]))
    return changed(found, lambda found: found["personComponent"][0].update(personIncidentRoleRegistryText=[role]))


def test_a_caller_who_is_the_patient_is_the_person_with_the_call_back_number():
    message = with_roles("Caller", "Patient")
    assert resources(message, "RelatedPerson") == []
    assert resources(message, "Patient")[0]["telecom"] == [{"system": "phone", "value": "+1-206-555-0143"}]


@pytest.mark.parametrize("role", ["Suspect", "PersonOfInterest", "Victim", "Witness", "InvolvedPerson"])
def test_who_has_another_role_stays_with_the_sender(role):
    named = {"name": [{"personSurName": [{"value": "Quill"}]}]}
    person = component("person-x", personIncidentRoleRegistryText=[role], ncPersonComponent=named)
    mapped = dumped(with_part(TRANSFER, "personComponent", person))
    assert "Quill" not in mapped
    assert role not in mapped


def test_a_callers_other_roles_are_not_told():
    assert "Suspect" not in dumped(with_roles("Caller", "Suspect"))


def test_the_number_of_a_call_is_not_handed_on_where_its_caller_is_a_suspect():
    assert "555-0143" not in dumped(with_roles("Suspect"))


def test_the_number_of_a_call_without_any_person_is_an_unknown_callers():
    [caller] = resources(changed(TRANSFER, lambda found: found.pop("personComponent")), "RelatedPerson")
    assert caller["relationship"][0]["text"] == "Caller"
    assert caller["telecom"][0]["value"] == "+1-206-555-0143"


def test_the_number_of_a_call_goes_to_who_called_and_not_to_the_patient():
    [patient], [sister] = resources(INCIDENT, "Patient"), resources(INCIDENT, "RelatedPerson")
    assert "telecom" not in patient
    assert sister["telecom"][0]["value"] == "+1-206-555-0177"
    assert [role["text"] for role in sister["relationship"]] == ["Caller", "Relative"]


def test_a_number_updated_during_the_call_comes_first():
    cbn = component("cbn", updatedCbnIdentifierUri="tel:+12065550199")
    message = changed(TRANSFER, lambda found: found["callbackComponent"][0].update(updatedCbn=cbn))
    assert resources(message, "RelatedPerson")[0]["telecom"][0]["value"] == "+12065550199"


def test_a_sip_address_is_taken_only_where_there_is_no_number():
    assert resources(with_sip(TRANSFER, "Caller"), "RelatedPerson")[0]["telecom"] == [{"system": "url", "value": "sip:a@osp.example"}]


def test_a_person_comes_out_of_niems_lists():
    [patient] = resources(INCIDENT, "Patient")
    assert patient["name"] == [{"family": "Marsh", "given": ["Jamie", "Lee"], "suffix": ["Jr."], "text": "Jamie Lee Marsh Jr."}]
    assert (patient["gender"], patient["birthDate"]) == ("male", "1991-06-03")
    assert patient["communication"][0]["language"]["coding"][0]["code"] == "en"


@pytest.mark.parametrize(
    "niem",
    [
        {"name": [], "birthDate": [{}], "sexCode": [{"simpleType": "X"}]},
        {"name": [{"personSurName": [{}, {"value": "Marsh"}]}], "primaryLanguage": [{"languageCode": [{"simpleType": "?"}]}]},
        {"ageMeasure": [{"integerValue": [{"value": 18}], "timeUnitCode": [{"simpleType": "MON"}]}]},
    ],
)
def test_niems_lists_are_never_indexed_blindly(niem):
    message = changed(INCIDENT, lambda found: found["personComponent"][0].update(ncPersonComponent=niem))
    assert resources(message, "Patient")[0]["gender"] == "unknown"
    assert "note" not in resources(message, "ServiceRequest")[0]


def test_the_state_of_a_person_is_told_as_reported_and_never_as_a_condition():
    [request] = resources(INCIDENT, "ServiceRequest")
    texts = [note["text"] for note in request["note"]]
    assert texts[0].endswith("Estimated age: 35")
    assert texts[1].startswith("Reported to the 911 centre, not a diagnosis: Hears voices")
    assert resources(INCIDENT, "Condition") == []


def test_of_two_patients_the_first_is_taken_and_the_sender_is_told():
    other = component("person-2", personIncidentRoleRegistryText=["Patient"])
    message = with_part(INCIDENT, "personComponent", other)
    assert issues(message) == [("warning", "business-rule", "/personComponent/2/personIncidentRoleRegistryText")]
    assert resources(message, "Patient")[0]["name"][0]["family"] == "Marsh"


# --- places ---


def pidf(inner, rules="", more=""):
    return (
        f'<?xml version="1.0"?>{more}<presence xmlns="urn:ietf:params:xml:ns:pidf" '
        'xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr" '
        f'xmlns:gml="http://www.opengis.net/gml" xmlns:gs="http://www.opengis.net/pidflo/1.0"><l>{inner}</l><r>{rules}</r></presence>'
    )


def a_location(location_id, kind, document, **more):
    return component(location_id, locationTypeDescriptionRegistryText=kind, locationByValue=document, **more)


POINT = "<gml:Point><gml:pos>47.48 -122.21</gml:pos></gml:Point>"


def located(document, kind="CurrentIncident"):
    return changed(INCIDENT, lambda found: found.update(locationComponent=[{**LOCATION, **a_location("l", kind, document)}]))


def test_the_place_of_the_incident_is_where_the_person_is():
    resources_ = take(INCIDENT).mapped.resources
    location = resources_["location"]
    assert location["name"] == "Place of the incident: Alder Court Apartments"
    assert location["address"]["line"] == ["418 S Alder Street", "Unit 12"]
    assert (location["address"]["city"], location["address"]["district"], location["address"]["state"]) == (
        "Riverton",
        "Riverton County",
        "WA",
    )
    assert resources_["encounter"]["location"] == [{"location": {"reference": "urn:local:location"}}]
    assert resources_["request"]["locationReference"] == [{"reference": "urn:local:location"}]


def test_the_current_place_is_preferred_to_the_first_reported():
    first = a_location("first", "InitialIncident", pidf(POINT.replace("47.48", "47.10")))
    message = with_part(changed(INCIDENT, lambda found: found["locationComponent"].insert(0, first)), "locationComponent")
    [location] = resources(message, "Location")
    assert str(location["position"]["latitude"]) == "47.4801"


@pytest.mark.parametrize(
    ("kind", "code"), [("Caller", "caller"), ("RoutingLocation", "routing"), ("TowerLocation", "tower"), ("Other", "other")]
)
def test_where_a_call_came_from_is_nobodys_place(kind, code):
    resources_ = take(located(pidf(POINT + "<ca:civicAddress><ca:A3>Riverton</ca:A3></ca:civicAddress>"), kind)).mapped.resources
    assert resources_["call-location-1"]["type"][0]["coding"][0]["code"] == code
    assert "location" not in resources_["encounter"]
    assert "locationReference" not in resources_["request"]


@pytest.mark.parametrize("kind", ["RoutingLocation", "TowerLocation"])
def test_a_location_of_the_network_is_never_sharper_than_its_area(kind):
    document = pidf(POINT + "<ca:civicAddress><ca:A3>Riverton</ca:A3><ca:RD>Alder</ca:RD><ca:PC>98057</ca:PC></ca:civicAddress>")
    [location] = resources(located(document, kind), "Location")
    assert location["address"] == {"city": "Riverton"}
    assert not {"position", "description"} & location.keys()


@pytest.mark.parametrize("kind", ["Staging", "UnitLocation", "Investigation", "Elsewhere"])
def test_a_location_of_responders_is_not_told(kind):
    assert resources(located(pidf(POINT), kind), "Location") == []


def test_a_place_the_patient_refers_to_is_the_persons():
    message = with_part(located(pidf(POINT), "Caller"), "locationComponent")
    message["personComponent"][0]["locationReference"] = [{"$ref": "l"}]
    assert take(message).mapped.resources["location"]["type"][0]["coding"][0]["code"] == "caller"


def test_a_wide_circle_is_an_area_without_a_point():
    circle = '<gs:Circle><gml:pos>47.48 -122.21</gml:pos><gs:radius uom="urn:ogc:def:uom:EPSG::9001">{}</gs:radius></gs:Circle>'
    near, far = (resources(located(pidf(circle.format(radius))), "Location")[0] for radius in (25, 2500))
    assert near["description"].endswith("Known to within 25 m.")
    assert "position" not in far
    assert far["physicalType"]["coding"][0]["code"] == "area"


@pytest.mark.parametrize(
    ("document", "issue"),
    [
        ("<presence>", ("warning", "structure")),
        (pidf(POINT, more='<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>'), ("warning", "structure")),
        (pidf(POINT, more='<!DOCTYPE p [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'), ("warning", "structure")),
        (pidf(POINT, "<retransmission-allowed>false</retransmission-allowed>"), ("warning", "suppressed")),
        (pidf(POINT, "<retention-expiry>2026-11-24T01:00:00-08:00</retention-expiry>"), ("warning", "suppressed")),
        (pidf("<gs:Polygon/>"), ("information", "not-supported")),
        (pidf("<gml:Point><gml:pos>147.48 -122.21</gml:pos></gml:Point>"), ("information", "not-supported")),
    ],
)
def test_a_location_that_cannot_or_may_not_be_used_is_left_out_and_named(document, issue):
    message = changed(located(document), lambda found: found["locationComponent"][0].pop("locationDescriptionText"))
    assert resources(message, "Location") == []
    assert (*issue, "/locationComponent/0/locationByValue") in issues(message)


def test_a_location_given_by_its_address_is_not_called_and_named():
    where = component("u", locationTypeDescriptionRegistryText="CurrentIncident", locationByReferenceUrl="https://lrf.osp.example/1")
    message = changed(INCIDENT, lambda found: found.update(locationComponent=[where]))
    assert ("information", "informational", "/locationComponent/0/locationByReferenceUrl") in issues(message)


# --- the incident ---


@pytest.mark.parametrize(
    ("history", "status"),
    [
        (["Active"], "triaged"),
        (["Active", "ResourcesOnscene"], "in-progress"),
        (["Active", "Closed"], "finished"),
        (["Closed", "ReOpened", "NewLocation"], "in-progress"),
        (["Cancelled"], "cancelled"),
        (["StructureCleared"], "in-progress"),
    ],
)
def test_the_last_known_status_of_an_incident_counts(history, status):
    message = changed(INCIDENT, lambda found: found["incidentComponent"].update(incidentStatusCommonRegistryText=history))
    assert resources(message, "Encounter")[0]["status"] == status


@pytest.mark.parametrize(
    ("number", "priority"),
    [(10, "stat"), (9, "stat"), (8, "asap"), (7, "asap"), (6, "urgent"), (4, "urgent"), (3, "routine"), (0, "routine")],
)
def test_ten_is_the_highest_priority(number, priority):
    message = changed(INCIDENT, lambda found: found["incidentComponent"].update(incidentCommonPriorityNumber=number))
    assert resources(message, "ServiceRequest")[0]["priority"] == priority


def test_a_call_without_a_priority_is_urgent():
    assert resources(TRANSFER, "ServiceRequest")[0]["priority"] == "urgent"


def test_the_type_is_told_as_a_reason_and_the_agencys_own_is_kept():
    reason = resources(INCIDENT, "ServiceRequest")[0]["reasonCode"][0]
    assert reason["text"] == "Mental health need"
    assert [coding["code"] for coding in reason["coding"]] == ["mental-health", "MNTL", "MH2"]


def test_a_type_with_a_blank_behind_it_or_of_no_registry_goes_on():
    assert resources(of_type("MTLV "), "ServiceRequest")[0]["reasonCode"][0]["coding"][0]["code"] == "mental-health"
    assert resources(of_type("Code 5150"), "ServiceRequest")[0]["reasonCode"][0]["coding"][0]["code"] == "not-classified"


@pytest.mark.parametrize(
    ("code", "weapon", "violence", "medical", "flags"),
    [
        ("MNTL", "unknown", "absent", "unknown", []),
        ("MTLV ", "unknown", "present", "unknown", ["violence-reported"]),
        ("WEAPON", "present", "present", "unknown", ["violence-reported", "weapon-reported"]),
        ("OD", "unknown", "unknown", "present", ["medical-emergency"]),
        ("SUICTHRT", "unknown", "unknown", "unknown", ["suicide-threat-attempt"]),
        ("NONEMERG", "absent", "absent", "absent", []),
        ("no such code", "unknown", "unknown", "unknown", []),
    ],
)
def test_what_a_type_says_of_safety(code, weapon, violence, medical, flags):
    taken = take(of_type(code))
    assert taken.mapped.routing["inputs"] == {"weapon": weapon, "violence": violence, "medical": medical}
    found = [resource["code"]["coding"][0]["code"] for resource in taken.mapped.resources.values() if resource["resourceType"] == "Flag"]
    assert sorted(found) == flags


def test_the_flags_of_the_table_are_those_of_the_code_maps():
    for name in ("weapon", "violence", "medical"):
        present = {code for code, state in code_maps()[f"eido-{name}"].forms["code"].items() if state == "present"}
        [condition] = next(resource for resource in FORMAT.table.resources if resource.name == name).group.when
        assert set(condition.values) == present


def test_a_case_number_is_taken_out_of_what_others_read():
    message = changed(INCIDENT, lambda found: found["incidentComponent"].update(documentIdentification=["26-0118204"]))
    message["locationComponent"][0]["locationDescriptionText"] = "See case 26-0118204, second door"
    taken = take(message)
    assert taken.mapped.resources["location"]["description"] == "See case [removed], second door"
    assert ("warning", "business-rule", "/locationComponent/0/locationDescriptionText") in issues(message)


# --- notes ---


def with_note(text):
    return changed(TRANSFER, lambda found: found.update(notesComponent=[component("note", notesActionComments=text)]))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>Sister asks for <b>no sirens</b>.</p><p>Door 4418#.</p>", "Sister asks for no sirens.\nDoor 4418#."),
        ("pulse <Jim 60", "pulse Jim 60"),
        ("a < b &amp; c", "a < b & c"),
        ("one<br>two", "one\ntwo"),
        ("<script>alert(1)</script>calm", "calm"),
        ("<img src=x onerror=alert(1)>calm", "calm"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;calm", "calm"),
        ("&amp;lt;img src=x onerror=1&amp;gt;calm", "calm"),
        ("<scr<script>ipt>calm", "ipt>calm"),
        ("ca\u0000l\u202em\u200b", "calm"),
        ("<!-- hidden -->calm", "calm"),
    ],
)
def test_a_note_is_taken_in_as_text(markup, text):
    [note] = resources(with_note(markup), "Communication")
    assert note["payload"] == [{"contentString": text}]


def test_a_note_of_nothing_but_markup_is_none():
    assert resources(with_note("<p><br></p>"), "Communication") == []


@pytest.mark.parametrize(
    "note", ["<p>ran him: NIC/W146203706</p>", "<p>ran him: N<b></b>IC/W1462<i>03706</i></p>", "&#78;IC&#47;W146203706"]
)
def test_a_criminal_history_answer_is_cut_out_of_a_note_before_it_is_stored_or_mapped(note):
    taken = take(with_note(note))
    assert "W146203706" not in json.dumps([taken.source, taken.mapped.resources], default=str)
    assert [place for place, _ in taken.cuts] == ["/notesComponent/0/notesActionComments"]
    assert ("warning", "suppressed", "/notesComponent/0/notesActionComments") in [(i.severity, i.code, i.source) for i in taken.issues]


@pytest.mark.parametrize("text", ["<!--" * 60_000, "<a " * 80_000, "&lt;" * 60_000, "<script>" * 30_000, "<" * 240_000, "<!" * 120_000])
def test_hostile_markup_costs_no_more_than_its_length(text):
    started = time.monotonic()
    text_of(text)
    assert time.monotonic() - started < 5


# --- what is named and goes on, and what is refused ---


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda found: found["callComponent"][0].update(callBackReference={"$ref": "gone"}), "/callComponent/0/callBackReference/$ref"),
        (lambda found: found["callComponent"][0].update(personReference=[{"$ref": "gone"}]), "/callComponent/0/personReference/0/$ref"),
        (lambda found: found.update(updatedByAgencyReference={"$ref": "gone"}), "/updatedByAgencyReference/$ref"),
        (
            lambda found: found["personComponent"][0].update(locationReference=[{"$ref": "gone"}]),
            "/personComponent/0/locationReference/0/$ref",
        ),
    ],
)
def test_a_dangling_reference_goes_on_and_is_named(change, pointer):
    assert issues(changed(TRANSFER, change)) == [("warning", "not-found", pointer)]


def test_a_call_answered_before_it_started_goes_on_without_the_waiting():
    message = changed(TRANSFER, lambda found: found["callComponent"][0].update(answerDate="2026-11-24T02:11:03.999-08:00"))
    assert issues(message) == [("warning", "value", "/callComponent/0/answerDate")]
    assert "statusHistory" not in resources(message, "Encounter")[0]


def faults(message):
    with pytest.raises(Invalid) as refused:
        take(message)
    return {(issue.source, issue.code): issue.expression for issue in refused.value.issues}


@pytest.mark.parametrize(
    ("change", "place", "element"),
    [
        (
            lambda found: found["incidentComponent"].update(incidentCommonPriorityNumber=11),
            ("/incidentComponent/incidentCommonPriorityNumber", "value"),
            "ServiceRequest.priority",
        ),
        (
            lambda found: found["callComponent"][0].update(callStartTimestamp="yesterday"),
            ("/callComponent/0/callStartTimestamp", "value"),
            "Encounter.period.start",
        ),
        (
            lambda found: found["personComponent"][0]["ncPersonComponent"]["birthDate"][0]["date"][0].update(value="1991-02-30"),
            ("/personComponent/0/ncPersonComponent/birthDate/0/date/0/value", "value"),
            "Patient.birthDate",
        ),
        (
            lambda found: found["personComponent"][1]["ncPersonComponent"]["name"][0]["personSurName"][0].update(value="\u0001"),
            ("/personComponent/1/ncPersonComponent/name/0/personSurName/0/value", "value"),
            "RelatedPerson.name[0].family",
        ),
        (
            lambda found: found["callbackComponent"][0].update(callBackInformationUri=["call me"]),
            ("/callbackComponent/0/callBackInformationUri/0", "value"),
            "RelatedPerson.telecom",
        ),
        (lambda found: found["callComponent"][0].pop("$id"), ("/callComponent/0/$id", "required"), "Encounter.identifier"),
        (
            lambda found: found["locationComponent"][0].update(locationDescriptionText="\u0000x"),
            ("/locationComponent/0/locationDescriptionText", "value"),
            "Location.description",
        ),
    ],
)
def test_a_fault_names_its_field_and_the_element_it_feeds(change, place, element):
    found = faults(changed(INCIDENT, change))
    assert element in found[place] or any(each.startswith(element) for each in found[place])


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda found: found.pop("agencyComponent"), ("/agencyComponent", "required")),
        (lambda found: found.pop("issuingElementIdentification"), ("/issuingElementIdentification", "required")),
        (lambda found: found.update(eidoVersion="1.1"), ("/eidoVersion", "value")),
        (lambda found: [found.pop(name) for name in ("$id", "incidentComponent", "callComponent")], ("", "required")),
        (lambda found: found["personComponent"].append(found["personComponent"][0]), ("/personComponent/2/$id", "duplicate")),
        (lambda found: found["notesComponent"][0].pop("lastUpdateTimeStamp"), ("/notesComponent/0/lastUpdateTimeStamp", "required")),
    ],
)
def test_what_no_eido_may_be_is_refused(change, place):
    assert place in faults(changed(INCIDENT, change))


@pytest.mark.parametrize(
    ("without", "key"),
    [
        ((), INCIDENT["$id"]),
        (("$id",), INCIDENT["incidentComponent"]["$id"]),
        (("$id", "incidentComponent"), INCIDENT["callComponent"][0]["$id"]),
    ],
)
def test_the_key_is_the_incidents_id_and_the_calls_where_there_is_none(without, key):
    message = changed(INCIDENT, lambda found: [found.pop(name) for name in without])
    assert take(message).key == key


def test_of_several_calls_the_first_started_names_the_incident():
    earlier = {**INCIDENT["callComponent"][0], "$id": "urn:emergency:uid:callid:1:x", "callStartTimestamp": "2026-11-24T02:29:00Z"}
    message = with_part(
        changed(INCIDENT, lambda found: [found.pop(name) for name in ("$id", "incidentComponent")]), "callComponent", earlier
    )
    assert take(message).key == "urn:emergency:uid:callid:1:x"


@pytest.mark.parametrize("strict", [True, False])
def test_a_field_of_a_later_version_is_named_and_refused_only_when_strict(strict):
    message = changed(TRANSFER, lambda found: found.update(cautionComponent=[component("c")]))
    if strict:
        with pytest.raises(Invalid):
            take(message, strict=True)
    else:
        assert issues(message) == [("information", "informational", "/cautionComponent")]


# --- fuzz: the seed is fixed ---


@pytest.mark.parametrize("batch", range(4))
def test_a_damaged_eido_is_refused_in_our_words_or_accepted_and_valid(batch, monkeypatch):
    monkeypatch.setattr(test_fuzz, "EXAMPLES", EXAMPLES)
    rng = random.Random(988 + batch)
    accepted = 0
    for _ in range(150):
        message, strict = test_fuzz.damaged(rng), rng.random() < 0.3
        try:
            taken = take(message, strict=strict)
        except Failure as failure:
            test_fuzz.require_told_well(failure)
        else:
            test_fuzz.require_good(taken)
            assert FORMAT.merge(taken.source, taken.source).changed is False
            accepted += 1
    assert 0 < accepted < 150


def test_damaged_documents_of_places_do_no_harm():
    rng = random.Random(988)
    text = LOCATION["locationByValue"]
    for _ in range(200):
        letters = list(text)
        for _ in range(rng.choice((1, 2, 8, 40))):
            letters[rng.randrange(len(letters))] = rng.choice("<>&\"'/ \x00\ud800a1")
        message = changed(INCIDENT, lambda found, letters=letters: found["locationComponent"][0].update(locationByValue="".join(letters)))
        for resource in FORMAT.apply(message).resources.values():
            assert isinstance(resource, dict)
        assert list(FORMAT.check(message, False)) is not None


def test_a_text_inside_another_is_never_taken_for_a_reference_of_the_mapping():
    document = pidf("<ca:civicAddress><ca:A3>urn:local:patient</ca:A3><ca:HNO> urn:local:x</ca:HNO><ca:A1>WA</ca:A1></ca:civicAddress>")
    message = changed(
        located(document), lambda found: found["callbackComponent"][0].update(callBackInformationUri=["tel:urn:local:patient"])
    )
    resources_ = take(message).mapped.resources
    assert resources_["location"]["address"] == {"state": "WA"}
    assert "telecom" not in resources_["related-1"]


def test_raw_bytes_of_another_kind_are_refused():
    for body in (b"{", b"[]", b'"x"', b"{}", json.dumps({"$id": 1}).encode()):
        with pytest.raises(Failure):
            read_message(VALIDATOR, b"k" * 32, "eido", body, strict=False)


def test_every_place_of_an_example_is_used_or_listed():
    mapped = take(INCIDENT).mapped
    used = {row.source for row in mapped.trace}
    assert used & set(mapped.unused) == set()
    assert all(steps for steps, _ in leaves(INCIDENT))
    assert all(node is not None for _, node in nodes(INCIDENT))
    assert "/incidentComponent/locationReference/0/$ref" in mapped.unused
    assert AT not in mapped.unused
