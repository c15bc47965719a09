"""A 911 centre hands a call over by EIDO: what a team gets, what the centre reads, and what one more EIDO changes."""

from __future__ import annotations

import copy
import json
import threading

import pytest

from gateway.referral.protocol import shipped_protocol
from gateway.referral.routing import decide, inputs_of
from gateway.store import messages, referrals
from tests.builders import an_eido, an_rms_message
from tests.mappings.eido import LATER, TRANSFER, component

CALL = shipped_protocol("crisis-call")
EARLIER = "2026-11-24T01:00:00.000-08:00"


def handed_over(gateway, eido=None, by="cad"):
    answer = gateway.actors[by].hand_over(eido or an_eido())
    assert answer.status_code == 201, answer.get_data(as_text=True)
    gateway.work()
    return str(answer.json["receipt"])


def later(eido, at=LATER, **incident):
    """The same EIDO with a newer incident component."""
    found = copy.deepcopy(eido)
    found["incidentComponent"].update(lastUpdateTimeStamp=at, **incident)
    return found


def kept(gateway, eido, organization="county-911"):
    """Everything that is kept of an incident, what came too late first."""
    with gateway.services.database.read() as unit:
        return messages.find_message(unit, organization, "eido", eido["$id"])


def stored(gateway, eido, organization="county-911"):
    """The versions of an incident, oldest first."""
    return [message for message in kept(gateway, eido, organization) if message.revision > 0]


def kept_late(gateway, eido):
    """What came too late, as it came."""
    return [json.loads(message.body) for message in kept(gateway, eido) if message.revision < 1]


# --- the door ---


def test_the_schema_is_published_with_examples_that_are_accepted(gateway):
    schema = gateway.app.test_client().get("/intake/eido/schema").json
    assert [gateway.as_cad.hand_over(example).status_code for example in schema["examples"]] == [201, 201, 200]


def test_a_client_without_the_scope_is_refused(gateway):
    assert gateway.as_rms.hand_over(an_eido()).status_code == 403


def test_a_dry_run_shows_the_senders_own_record_and_keeps_nothing(gateway):
    eido = an_eido()
    shown = gateway.as_cad.hand_over(eido, query="?dry-run=true")
    assert shown.status_code == 200
    assert set(shown.json) == {"bundle", "trace", "unused", "issues", "routing"}
    assert "urn:local:" not in shown.get_data(as_text=True)
    assert stored(gateway, eido) == []


def test_a_refusal_names_field_and_element_and_keeps_nothing(gateway):
    eido = an_eido()
    eido["incidentComponent"]["incidentCommonPriorityNumber"] = 11
    refused = gateway.as_cad.hand_over(eido)
    assert refused.status_code == 422
    [issue] = refused.json["issue"]
    assert issue["diagnostics"] == "source field: /incidentComponent/incidentCommonPriorityNumber"
    assert issue["expression"] == ["ServiceRequest.priority"]
    assert stored(gateway, eido) == []


def test_a_dangling_reference_is_taken_and_named_in_the_receipt(gateway):
    eido = an_eido()
    eido["callComponent"][0]["callBackReference"] = {"$ref": "gone"}
    receipt = gateway.as_cad.hand_over(eido)
    assert receipt.status_code == 201
    assert [issue["diagnostics"] for issue in receipt.json["issues"]] == ["source field: /callComponent/0/callBackReference/$ref"]


# --- what a team gets ---


def test_a_mobile_team_is_asked_within_minutes(gateway):
    receipt = handed_over(gateway)
    ehr = gateway.as_juniper_ehr
    task = ehr.the_task()
    request = ehr.get(f"/fhir/{task['focus']['reference']}").json
    assert request["code"]["text"] == "Mobile crisis response"
    assert (request["priority"], request["reasonCode"][0]["text"]) == ("asap", "Mental health need")
    assert CALL.accept_within.total_seconds() <= 600
    assert gateway.holder_of(receipt) == "county-911"


def test_a_team_reads_person_place_and_caller_and_nothing_of_the_public_safety_side(gateway):
    eido = an_eido()
    eido["incidentComponent"]["documentIdentification"] = ["26-0118204"]
    suspect = {"name": [{"personSurName": [{"value": "Quill"}]}]}
    eido["personComponent"].append(component("person-x", personIncidentRoleRegistryText=["Suspect"], ncPersonComponent=suspect))
    handed_over(gateway, eido)
    ehr = gateway.as_juniper_ehr.with_scope("system/*.rs")
    task = ehr.the_task()
    ehr = gateway.as_juniper_ehr
    read = [task, *(ehr.get(f"/fhir/{task[name]['reference']}").json for name in ("for", "focus", "encounter"))]
    locations = ehr.search("Location")
    everything = json.dumps([read, locations])
    assert read[1]["name"][0]["family"] == "Marsh"
    assert read[2]["locationReference"][0]["reference"] == f"Location/{locations[0]['id']}"
    assert locations[0]["address"]["line"][0] == "418 S Alder Street"
    for hidden in ("Quill", "Suspect", "26-0118204", "MH2", "mreyes", "4418", eido["$id"]):
        assert hidden not in everything


def test_the_notes_of_an_incident_are_kept_and_stay_with_the_sender(gateway):
    eido = an_eido()
    receipt = handed_over(gateway, eido)
    with gateway.services.database.read() as unit:
        referral = referrals.find_by_any_receipt(unit, receipt)
        parts = {part.name: part.resource_type for part in referrals.parts_of(unit, referral.id)}
    assert parts["note-1"] == "Communication"
    entries = gateway.ledger_of(receipt)
    assert "NOTES" not in {label for entry in entries for label in entry.labels}
    assert "Door code 4418#." in stored(gateway, eido)[0].body


# --- sending again: merged component by component, by time stamps ---


def test_the_same_eido_again_gets_the_same_receipt_and_is_kept_once(gateway):
    eido = an_eido()
    first, again = gateway.as_cad.hand_over(eido), gateway.as_cad.hand_over(eido)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert len(stored(gateway, eido)) == 1


def test_the_order_of_components_is_no_content(gateway):
    eido = an_eido()
    gateway.as_cad.hand_over(eido)
    eido["personComponent"].reverse()
    assert gateway.as_cad.hand_over(eido).status_code == 200
    assert len(stored(gateway, eido)) == 1


def test_a_newer_component_makes_a_new_version_under_the_same_receipt(gateway):
    eido = an_eido()
    receipt = handed_over(gateway, eido)
    task = gateway.as_juniper_ehr.the_task()
    newer = gateway.as_cad.hand_over(later(eido, incidentCommonPriorityNumber=10))
    assert (newer.status_code, newer.json["receipt"]) == (200, receipt)
    gateway.work()
    assert gateway.as_juniper_ehr.get(f"/fhir/{task['focus']['reference']}").json["priority"] == "stat"
    assert [message.revision for message in stored(gateway, eido)] == [1, 2]


def test_what_a_newer_eido_leaves_out_stays(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    task = gateway.as_juniper_ehr.the_task()
    update = {name: value for name, value in later(eido, incidentCommonPriorityNumber=9).items() if name != "personComponent"}
    assert gateway.as_cad.hand_over(update).json["issues"] == []
    gateway.work()
    ehr = gateway.as_juniper_ehr
    assert ehr.get(f"/fhir/{task['for']['reference']}").json["name"][0]["family"] == "Marsh"
    assert ehr.get(f"/fhir/{task['focus']['reference']}").json["priority"] == "stat"


def test_a_person_who_is_named_later_becomes_the_same_patient(gateway):
    eido = an_eido()
    first = {**eido, "personComponent": [eido["personComponent"][1]]}
    handed_over(gateway, first)
    task = gateway.as_juniper_ehr.the_task()
    ehr = gateway.as_juniper_ehr
    assert ehr.get(f"/fhir/{task['for']['reference']}").json["name"][0]["text"] == "Unidentified person"
    gateway.as_cad.hand_over(eido)
    gateway.work()
    assert ehr.get(f"/fhir/{task['for']['reference']}").json["name"][0]["family"] == "Marsh"


def test_an_older_component_changes_nothing(gateway):
    eido = an_eido()
    first = gateway.as_cad.hand_over(eido)
    gateway.work()
    older = gateway.as_cad.hand_over(later(eido, at=EARLIER, incidentCommonPriorityNumber=1))
    assert older.status_code == 200
    assert older.json == first.json
    assert len(stored(gateway, eido)) == 1


def test_an_older_component_is_kept_as_it_came(gateway):
    eido = an_eido()
    receipt = handed_over(gateway, eido)
    older = later(eido, at=EARLIER, incidentCommonPriorityNumber=1)
    gateway.as_cad.hand_over(older)
    [late] = kept_late(gateway, eido)
    assert late["incidentComponent"] == older["incidentComponent"]
    with gateway.services.database.read() as unit:
        referral = referrals.find_by_any_receipt(unit, receipt)
        assert len(messages.messages_of(unit, referral.id)) == 2
    assert referral.revision == 1
    newer = gateway.as_cad.hand_over(later(eido, incidentCommonPriorityNumber=9))
    assert (newer.status_code, newer.json["receipt"]) == (200, receipt)
    assert json.loads(stored(gateway, eido)[-1].body)["incidentComponent"]["incidentCommonPriorityNumber"] == 9


def test_an_older_component_is_kept_once_and_each_other_one_beside_it(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    for number in (1, 1, 2, 3, 2):
        assert gateway.as_cad.hand_over(later(eido, at=EARLIER, incidentCommonPriorityNumber=number)).status_code == 200
    numbers = [message["incidentComponent"]["incidentCommonPriorityNumber"] for message in kept_late(gateway, eido)]
    assert numbers == [3, 2, 1]


def test_a_version_that_is_sent_again_after_a_newer_one_is_not_kept_twice(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    gateway.as_cad.hand_over(later(eido, incidentCommonPriorityNumber=9))
    assert gateway.as_cad.hand_over(eido).status_code == 200
    assert kept_late(gateway, eido) == []


def test_what_is_cut_out_of_an_older_component_is_not_kept(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    older = copy.deepcopy(eido)
    older["notesComponent"][0].update(lastUpdateTimeStamp=EARLIER, notesActionComments="<p>NIC/W146203706</p>")
    gateway.as_cad.hand_over(older)
    [late] = [message for message in kept(gateway, eido) if message.revision < 1]
    assert "W146203706" not in late.body
    assert [pointer for pointer, _ in late.cuts] == ["/notesComponent/0/notesActionComments"]


def test_older_components_sent_at_once_are_all_kept(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    sent = [later(eido, at=EARLIER, incidentCommonPriorityNumber=number) for number in range(1, 7)]
    threads = [threading.Thread(target=gateway.actors["cad"].hand_over, args=(each,)) for each in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept_late(gateway, eido)) == 6
    assert len(stored(gateway, eido)) == 1


def test_an_eido_may_hold_one_newer_and_one_older_component(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    mixed = later(eido, at=EARLIER, incidentCommonPriorityNumber=1)
    mixed["notesComponent"] = [component("note-2", LATER, notesActionComments="Now in the stairwell")]
    gateway.as_cad.hand_over(mixed)
    merged = json.loads(stored(gateway, eido)[-1].body)
    assert merged["incidentComponent"]["incidentCommonPriorityNumber"] == 7
    assert [note["$id"] for note in merged["notesComponent"]] == ["note-1", "note-2"]
    assert kept_late(gateway, eido)[0]["incidentComponent"]["incidentCommonPriorityNumber"] == 1


def test_the_same_time_stamp_with_other_content_is_refused_and_the_component_named(gateway):
    eido = an_eido()
    gateway.as_cad.hand_over(eido)
    other = copy.deepcopy(eido)
    other["incidentComponent"]["incidentCommonPriorityNumber"] = 2
    other["personComponent"][1]["personIncidentRoleRegistryText"] = ["Caller"]
    refused = gateway.as_cad.hand_over(other)
    assert refused.status_code == 409
    assert {issue["diagnostics"] for issue in refused.json["issue"]} == {
        "source field: /incidentComponent",
        "source field: /personComponent/1",
    }
    assert {issue["code"] for issue in refused.json["issue"]} == {"duplicate"}
    assert len(stored(gateway, eido)) == 1


def test_one_instant_written_otherwise_is_one_time_stamp(gateway):
    eido = an_eido()
    gateway.as_cad.hand_over(eido)
    again = copy.deepcopy(eido)
    again["incidentComponent"]["lastUpdateTimeStamp"] = "2026-11-24T10:33:00Z"
    assert gateway.as_cad.hand_over(again).status_code == 200
    assert len(stored(gateway, eido)) == 1


def test_time_stamps_are_told_apart_to_the_last_digit(gateway):
    eido = later(an_eido(), at="2026-11-24T03:30:00.123456788-08:00")
    gateway.as_cad.hand_over(eido)
    newer = later(eido, at="2026-11-24T03:30:00.123456789-08:00", incidentCommonPriorityNumber=10)
    assert gateway.as_cad.hand_over(newer).status_code == 200
    assert len(stored(gateway, eido)) == 2


def test_another_organisation_may_have_the_same_incident(gateway):
    eido = an_eido()
    assert gateway.as_cad.hand_over(eido).status_code == 201
    assert gateway.as_police_cad.hand_over(eido).status_code == 201


def test_what_was_cut_stays_named_until_its_component_is_replaced(gateway):
    eido = an_eido()
    eido["notesComponent"][0]["notesActionComments"] = "<p>NIC/W146203706</p>"
    first = gateway.as_cad.hand_over(eido)
    place = "source field: /notesComponent/0/notesActionComments"
    assert [issue["diagnostics"] for issue in first.json["issues"]] == [place]
    still = gateway.as_cad.hand_over(later(eido, incidentCommonPriorityNumber=9))
    assert [issue["diagnostics"] for issue in still.json["issues"]] == [place]
    assert [pointer for pointer, _ in stored(gateway, eido)[-1].cuts] == ["/notesComponent/0/notesActionComments"]
    eido["notesComponent"][0].update(notesActionComments="calm", lastUpdateTimeStamp=LATER)
    assert gateway.as_cad.hand_over(later(eido, incidentCommonPriorityNumber=9)).json["issues"] == []


def test_a_cut_is_named_where_its_component_stands_in_what_is_known(gateway):
    eido = an_eido()
    gateway.as_cad.hand_over(eido)
    eido["notesComponent"] = [component("note-2", LATER, notesActionComments="<p>NIC/W146203706</p>")]
    answer = gateway.as_cad.hand_over(eido)
    assert [issue["diagnostics"] for issue in answer.json["issues"]] == ["source field: /notesComponent/1/notesActionComments"]


def test_many_eidos_of_one_incident_at_once_make_one_referral_and_lose_nothing(gateway):
    eido = an_eido()
    assert gateway.as_cad.token
    answers = []

    def send(number):
        mine = copy.deepcopy(eido)
        mine["notesComponent"] = [component(f"note-{number}", LATER, notesActionComments=f"note {number}")]
        answers.append(gateway.actors["cad"].hand_over(mine))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json["receipt"] for answer in answers}) == 1
    merged = json.loads(stored(gateway, eido)[-1].body)
    assert {note["$id"] for note in merged["notesComponent"]} == {f"note-{number}" for number in range(6)}


def test_a_revision_of_a_diversion_request_is_refused_as_before(gateway):
    message = an_rms_message()
    gateway.as_cad.send(message)
    refused = gateway.as_cad.send({**message, "urgency": "routine" if message.get("urgency") != "routine" else "urgent"})
    assert refused.status_code == 409
    assert refused.json["issue"][0]["diagnostics"] == "source field: /request_number"


# --- the protocol ---


@pytest.mark.parametrize(
    ("inputs", "rule", "targets"),
    [
        ({"weapon": "absent", "violence": "absent", "medical": "absent"}, "call-known-safe", ("mobile-crisis", "crisis-stabilization")),
        ({"weapon": "unknown", "violence": "absent", "medical": "absent"}, "call-unknown", ("mobile-crisis", "crisis-stabilization")),
        ({}, "call-unknown", ("mobile-crisis", "crisis-stabilization")),
        ({"weapon": "guess"}, "call-unknown", ("mobile-crisis", "crisis-stabilization")),
        ({"weapon": "present"}, "call-stop-weapon", ()),
        ({"violence": "present"}, "call-stop-violence", ()),
        ({"medical": "present"}, "call-stop-medical", ()),
        ({"incident": "cancelled", "medical": "present"}, "call-stop-cancelled", ()),
    ],
)
def test_hard_stops_come_first_and_unknown_is_not_safe(inputs, rule, targets):
    decision = decide(CALL, {"door": "emergency-call", "inputs": inputs})
    assert (decision.rule, decision.targets) == (rule, targets)


def test_what_was_not_said_is_unknown():
    assert inputs_of(CALL, {}) == {
        "door": "emergency-call",
        "incident": "open",
        **dict.fromkeys(("weapon", "violence", "medical"), "unknown"),
    }


@pytest.mark.parametrize("code", ["WEAPON", "MTLV ", "OD"])
def test_a_call_with_a_weapon_violence_or_a_medical_emergency_goes_back_to_911_at_once(gateway, code):
    eido = an_eido()
    eido["incidentComponent"]["incidentTypeCommonRegistryText"] = code
    answer = gateway.as_cad.hand_over(eido)
    assert answer.json["next"]["instruction"].startswith("No crisis team is asked")
    assert answer.json["next"]["reason"]
    gateway.work()
    assert gateway.as_juniper_ehr.open_tasks() == []
    assert gateway.as_cad.status_of(answer.json["receipt"]) == "returned"


def test_next_says_what_counts_as_unsafe_and_when_the_answer_is_final(gateway):
    step = gateway.as_cad.hand_over(an_eido()).json["next"]
    assert "counts as unsafe" in step["instruction"]
    assert step["protocol"] == "crisis-call|1.0.0"


def test_a_weapon_that_is_reported_later_ends_the_open_offer(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    task = gateway.as_juniper_ehr.the_task()
    gateway.as_cad.hand_over(later(eido, incidentTypeCommonRegistryText="WEAPON"))
    gateway.work()
    assert gateway.as_juniper_ehr.get(f"/fhir/Task/{task['id']}").json["status"] == "cancelled"


def test_a_weapon_that_is_reported_after_acceptance_reaches_the_team_as_note_and_flag(gateway):
    eido = an_eido()
    handed_over(gateway, eido)
    ehr = gateway.as_juniper_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    gateway.as_cad.hand_over(later(eido, incidentTypeCommonRegistryText="WEAPON"))
    gateway.work()
    assert "call-stop-weapon" in ehr.get(f"/fhir/Task/{task['id']}").json["note"][-1]["text"]
    assert {flag["code"]["text"] for flag in ehr.search("Flag")} == {"Weapon reported", "Violence reported"}


def test_after_the_teams_a_place_that_takes_people_is_asked(gateway):
    handed_over(gateway)
    for team in ("juniper-ehr", "willow-ehr"):
        actor = gateway.actors[team]
        assert actor.put(actor.the_task(), status="rejected").status_code == 200
        gateway.work()
    assert gateway.as_northside_ehr.the_task()


# --- what the centre reads ---


def business_status(code):
    system = "https://crisis-referral-gateway.org/fhir/CodeSystem/business-status"
    return {"coding": [{"system": system, "code": code}], "text": code}


def through_a_response(gateway, by="cad"):
    """The words a centre reads while a team takes its call, comes, and is done."""
    receipt = handed_over(gateway, by=by)
    ehr, words = gateway.as_juniper_ehr, []
    task = ehr.the_task()
    for changes in (
        {"status": "requested"},
        {"status": "accepted"},
        {"status": "in-progress", "businessStatus": business_status("en-route")},
        {"status": "in-progress", "businessStatus": business_status("on-scene")},
        {"status": "in-progress", "businessStatus": business_status("contact-made")},
        {"status": "completed", "businessStatus": business_status("engaged")},
    ):
        answer = ehr.put(task, **changes)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        task = answer.json
        words.append(gateway.actors[by].status_of(receipt))
    return words


def test_a_911_centre_reads_the_response_it_asked_for_and_nothing_of_the_person(gateway):
    assert through_a_response(gateway) == ["received", "accepted", "en-route", "on-scene", "on-scene", "on-scene"]


def test_a_911_centre_of_a_police_agency_reads_what_police_read(gateway):
    assert through_a_response(gateway, by="police-cad") == ["received"] * 6


def test_a_911_centre_reads_nothing_of_the_acceptance_of_a_part_2_program(gateway):
    receipt = handed_over(gateway)
    gateway.as_juniper_ehr.put(gateway.as_juniper_ehr.the_task(), status="rejected")
    gateway.work()
    ehr = gateway.as_willow_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    assert gateway.as_cad.status_of(receipt) == "received"
    ehr.put(task, status="in-progress", businessStatus=business_status("en-route"))
    assert gateway.as_cad.status_of(receipt) == "received"


def test_a_911_centre_reads_no_response_where_no_team_goes_out(gateway):
    receipt = handed_over(gateway)
    for team in ("juniper-ehr", "willow-ehr"):
        gateway.actors[team].put(gateway.actors[team].the_task(), status="rejected")
        gateway.work()
    ehr = gateway.as_northside_ehr
    ehr.put(ehr.the_task(), status="accepted")
    assert gateway.as_cad.status_of(receipt) == "received"


def test_a_911_centre_reads_no_response_of_what_it_did_not_ask_one_for(gateway):
    receipt = gateway.refer("cad")
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.the_task(), status="accepted", businessStatus=business_status("en-route"))
    assert gateway.as_cad.status_of(receipt) == "received"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_team_that_turns_back_is_not_said_to_be_on_its_way(gateway, status):
    receipt = handed_over(gateway)
    ehr = gateway.as_juniper_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    task = ehr.put(task, status="in-progress", businessStatus=business_status("en-route")).json
    assert gateway.as_cad.status_of(receipt) == "en-route"
    assert ehr.put(task, status=status).status_code == 200
    assert gateway.as_cad.status_of(receipt) == "accepted"
    assert gateway.holder_of(receipt) == "coordinator"


def test_a_911_centre_takes_a_call_back_like_any_sender(gateway):
    receipt = handed_over(gateway)
    ehr = gateway.as_juniper_ehr
    task = ehr.put(ehr.the_task(), status="accepted").json
    assert gateway.as_cad.cancel(receipt).json["status"] == "closed"
    codes = [coding["code"] for coding in ehr.get(f"/fhir/Task/{task['id']}").json["businessStatus"]["coding"]]
    assert "cancellation-requested" in codes


def test_the_row_that_let_a_centre_read_a_response_stands_in_the_audit(gateway):
    receipt = handed_over(gateway)
    gateway.as_juniper_ehr.put(gateway.as_juniper_ehr.the_task(), status="accepted")
    gateway.as_cad.status_of(receipt)
    assert "V03" in json.dumps(gateway.audit()[-1].body, default=str)


def test_the_first_transfer_of_the_examples_has_no_person_but_the_caller(gateway):
    handed_over(gateway, TRANSFER)
    ehr = gateway.as_juniper_ehr
    task = ehr.the_task()
    request = ehr.get(f"/fhir/{task['focus']['reference']}").json
    assert "locationReference" not in request
    assert {location["type"][0]["coding"][0]["code"] for location in ehr.search("Location")} == {"routing", "caller"}
