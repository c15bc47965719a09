"""What the 911 centre of the demo sends: a call, and what it learns a little later. Everybody is invented; the times are near now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import mappings
from gateway.demo.people import moved

AGENCY: Final = "911.riverton-county.example"
INCIDENT: Final = f"urn:emergency:uid:incidentid:8c41d207:{AGENCY}"
CALL: Final = f"urn:emergency:uid:callid:8c41d207:{AGENCY}"
NOTE: Final = "Son pacing in the yard, hears voices. Gate code 2290#, no sirens please."
# A civic address as public safety writes it (RFC 5139); whether it may be handed on is said in it (RFC 4119).
PLACE: Final = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" '
    'xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:ca="urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr" '
    f'entity="pres:incident@{AGENCY}"><dm:device id="place"><gp:geopriv><gp:location-info><ca:civicAddress>'
    "<ca:country>US</ca:country><ca:A1>WA</ca:A1><ca:A2>Riverton County</ca:A2><ca:A3>Riverton</ca:A3><ca:RD>Harbor</ca:RD>"
    "<ca:STS>Lane</ca:STS><ca:HNO>77</ca:HNO><ca:PC>98057</ca:PC></ca:civicAddress></gp:location-info><gp:usage-rules>"
    "<gp:retransmission-allowed>true</gp:retransmission-allowed></gp:usage-rules><gp:method>Manual</gp:method></gp:geopriv></dm:device>"
    "</presence>"
)


def _component(component_id: str, at: datetime, **members: Any) -> dict[str, Any]:
    stamp = at.isoformat(timespec="milliseconds")
    return {"$id": component_id, "lastUpdateTimeStamp": stamp, "updatedByAgencyReference": {"$ref": AGENCY}, **members}


def of_a_mother(now: datetime) -> dict[str, Any]:
    """A call without an incident yet: who calls, from where; nothing is known of the person but that there is one.

    The first of the published examples, moved to `now`, with a note in HTML and a call taker's desk that leads nowhere.
    """
    published = mappings.load("eido").schema["examples"][0]
    call: dict[str, Any] = moved(published, now - datetime.fromisoformat(published["lastUpdateTimeStamp"]))
    caller, spoken = call["personComponent"][0], call["callComponent"][0]
    caller["personIncidentRoleRegistryText"].append("PatientRelative")
    caller["ncPersonComponent"] = {"name": [{"personFullName": [{"value": "Inga Brandt"}]}]}
    caller["callIdentifier"] = [CALL]
    spoken["$id"] = CALL
    spoken["agentReference"].append({"$ref": f"desk-4@{AGENCY}"})
    markup = f"<p>{NOTE.replace(', no sirens', ', <b>no sirens</b>')}</p><script>alert(1)</script>"
    note = _component("note-1", now, notesActionComments=markup)
    return {**call, "$id": INCIDENT, "notesComponent": [note]}


def with_the_persons_name(now: datetime, call: Mapping[str, Any]) -> dict[str, Any]:
    """A little later: the mother has said who her son is and where. Only what is new is sent."""
    later = max(now, datetime.fromisoformat(call["lastUpdateTimeStamp"]) + timedelta(seconds=1))
    name = {"personSurName": [{"value": "Brandt"}], "personGivenName": [{"value": "Theo"}]}
    son = _component("person-son", later, personIncidentRoleRegistryText=["Patient"])
    son["ncPersonComponent"] = {"name": [name], "sexCode": [{"simpleType": "M"}], "birthDate": [{"date": [{"value": "2001-08-14"}]}]}
    yard = _component("location-yard", later, locationTypeDescriptionRegistryText="CurrentIncident", locationByValue=PLACE)
    header = {name: call[name] for name in ("eidoVersion", "issuingElementIdentification", "agencyComponent")}
    return _component(INCIDENT, later, **header, personComponent=[son], locationComponent=[yard])


def values_of_the_centre(call: Mapping[str, Any]) -> list[str]:
    """What of a call stays with the centre: its incident and call numbers, its call taker, and its notes, word by word."""
    agent = call["agentComponent"][0]["$id"]
    return [INCIDENT, CALL, agent, "hears voices", "2290#", "no sirens"]
