"""What the senders of the demo post is good at any time of day, and who takes part is taken as it is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from conformance.keys import make_keys
from gateway.access.redaction import cut_criminal_history
from gateway.commands.addresses import address_check
from gateway.demo import call, people
from gateway.referral.directory import read_parties
from gateway.referral.reading import read_message
from profiles import engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = [NOON, NOON + timedelta(hours=11, minutes=59, seconds=59, microseconds=999_999), datetime(2028, 2, 29, tzinfo=UTC)]


def taken(format_name, message):
    return read_message(engine.r4(), b"k" * 32, format_name, json.dumps(message).encode(), strict=False)


@pytest.mark.parametrize("now", AT)
@pytest.mark.parametrize("make", [people.with_officers_tick, people.with_signed_authorization, people.of_somebody_unidentified])
def test_each_request_of_the_officers_system_is_taken(make, now):
    assert taken("rms-diversion", make(now)).key


@pytest.mark.parametrize("now", AT)
def test_the_call_names_its_caller_and_nobody_else_and_goes_on_with_one_dangling_reference(now):
    got = taken("eido", call.of_a_mother(now))
    [patient] = [each for each in got.mapped.resources.values() if each["resourceType"] == "Patient"]
    [caller] = [each for each in got.mapped.resources.values() if each["resourceType"] == "RelatedPerson"]
    assert (patient["name"][0]["text"], caller["name"][0]["text"]) == ("Unidentified person", "Inga Brandt")
    assert [issue.code for issue in got.issues] == ["not-found"]
    [note] = [each["payload"][0]["contentString"] for name, each in got.mapped.resources.items() if name.startswith("note")]
    assert note == call.NOTE


@pytest.mark.parametrize("now", AT)
def test_what_the_centre_learns_later_is_of_the_same_incident_and_newer(now):
    first = call.of_a_mother(now)
    for later in (call.with_the_persons_name(now, first), call.with_the_persons_name(now + timedelta(seconds=2), first)):
        got = taken("eido", later)
        assert got.key == taken("eido", first).key
        assert datetime.fromisoformat(later["lastUpdateTimeStamp"]) > datetime.fromisoformat(first["lastUpdateTimeStamp"])
        assert got.mapped.resources["patient"]["name"] == [{"family": "Brandt", "given": ["Theo"]}]


def test_nothing_of_the_demo_looks_like_the_answer_of_a_criminal_history_system():
    made = [people.with_officers_tick(NOON), people.with_signed_authorization(NOON), call.of_a_mother(NOON)]
    assert [cut_criminal_history(message, b"k" * 32)[1] for message in made] == [[], [], []]


def test_the_values_that_must_stay_with_the_centre_are_in_what_it_sends():
    sent = json.dumps(taken("eido", call.of_a_mother(NOON)).source)
    assert [value for value in call.values_of_the_centre(call.of_a_mother(NOON)) if value not in sent] == []


def test_the_parties_of_the_demo_are_taken(tmp_path):
    clients = (people.RMS.client, people.CAD.client, *people.EHR_CLIENTS.values())
    for client in clients:
        make_keys(tmp_path / client)
    file = tmp_path / "parties.toml"
    file.write_text(people.parties_toml({client: 9000 + number for number, client in enumerate(clients)}))
    parties = read_parties(file, address_check(allow_private=True))
    assert {organization.key for organization in parties.organizations} == set(people.NAMES) - {"coordinator"}
