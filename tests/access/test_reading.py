"""Read and search through the door: what a party sees, and that a stranger sees nothing that was ever there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.access.records import reading
from gateway.audit.events import audit_rows
from gateway.errors import Malformed, NotFound, Unavailable
from gateway.fhir.search import parse_search
from gateway.oauth.context import Caller
from gateway.store.database import Database, Unit
from profiles import namespace
from profiles.strict_json import parse_json
from tests.access.case import Case, a_caller, a_consent, publish_all
from tests.access.store import fresh_database

BASE = "http://gateway.test/fhir"


def body(answer: Disclosed) -> dict[str, Any]:
    assert isinstance(answer.body, bytes)
    return parse_json(answer.body)


def find(database: Database, caller: Caller, resource_type: str, query: str = "") -> dict[str, Any]:
    wanted = parse_search(resource_type, parse_qsl(query), base_url=BASE, strict=False)
    return body(records.search(database, caller, wanted))


def ids(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def test_a_receiver_reads_its_own_copies_and_nothing_of_the_senders_domain(case: Case) -> None:
    copies = case.record(a_consent()).offer()
    clinic = a_caller("clinic")
    for name, held in copies.items():
        assert body(records.read(case.database, clinic, name, held.id))["id"] == held.id
    for name, held in case.recorded.items():
        with pytest.raises(NotFound):
            records.read(case.database, clinic, name, held.id)


def test_screening_and_offences_never_become_copies(case: Case) -> None:
    copies = case.record(a_consent()).offer()
    assert not {"QuestionnaireResponse", "Observation"} & set(copies)


def test_a_copy_holds_no_case_number_no_officer_and_no_offence(case: Case) -> None:
    copies = case.record().offer()
    text = str([held.body for held in copies.values()])
    assert "I-77" in text
    for secret in ("26-0001", "Officer Gray", "arresting officer", "69.50.4013", namespace.SID_PERSON):
        assert secret not in text


def test_stored_bytes_are_served_as_they_are(case: Case) -> None:
    task = case.record().offer()["Task"]
    answer = records.read(case.database, a_caller("clinic"), "Task", task.id)
    assert parse_json(answer.body) == task.body  # type: ignore[arg-type]
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Last-Modified"].endswith(" GMT")


@pytest.mark.parametrize("who", ["police", "second-clinic", "jail-clinic", "strange", "dispatch"])
def test_nobody_else_reads_or_finds_what_a_receiver_was_given(case: Case, who: str) -> None:
    copies = case.record().offer()
    for name, held in copies.items():
        with pytest.raises(NotFound):
            records.read(case.database, a_caller(who), name, held.id)
        assert find(case.database, a_caller(who), name) == {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": 0,
            "link": [{"relation": "self", "url": f"{BASE}/{name}"}],
        }


def test_a_police_organisation_reads_nothing_of_its_own_record_over_fhir(case: Case) -> None:
    case.record()
    task = case.parent_task()
    for held in [*case.recorded.values(), task]:
        for purpose in ("COC", "TREAT"):
            with pytest.raises(NotFound):
                records.read(case.database, a_caller("police", purpose), held.type, held.id)


def test_a_covered_sender_reads_its_parent_task_alone(database: Database) -> None:
    case = Case(database, sender="hospital").record()
    task = case.parent_task()
    assert body(records.read(database, a_caller("hospital", "COC"), "Task", task.id))["status"] == "requested"
    with pytest.raises(NotFound):
        records.read(database, a_caller("hospital", "COC"), "Patient", case.recorded["Patient"].id)


@pytest.mark.parametrize("purpose", ["HPAYMT", "HMARKT", "BTG", ""])
def test_a_purpose_the_policy_does_not_name_reads_nothing(case: Case, purpose: str) -> None:
    task = case.record().offer()["Task"]
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic", purpose), "Task", task.id)


def test_an_ended_offer_leaves_the_bare_task_and_nothing_else(case: Case) -> None:
    copies = case.record().offer()
    case.close()
    clinic = a_caller("clinic")
    left = body(records.read(case.database, clinic, "Task", copies["Task"].id))
    assert not {"for", "focus", "input"} & set(left)
    with pytest.raises(NotFound):
        records.read(case.database, clinic, "Patient", copies["Patient"].id)
    assert find(case.database, clinic, "Patient")["total"] == 0
    assert ids(find(case.database, clinic, "Task")) == [copies["Task"].id]
    assert find(case.database, clinic, "Task", f"patient={copies['Patient'].id}")["total"] == 0
    assert find(case.database, clinic, "Task", f"focus={copies['ServiceRequest'].id}")["total"] == 0


@pytest.mark.parametrize(
    ("resource_type", "query"),
    [
        ("Task", "owner=Organization/clinic"),
        ("Task", "owner=clinic"),
        ("Task", f"owner={BASE}/Organization/clinic"),
        ("Task", "owner:Organization=clinic"),
        ("Task", "status=requested"),
        ("Task", "status=accepted,requested"),
        ("Task", "status=http://hl7.org/fhir/task-status|requested"),
        ("Task", "status=|requested"),
        ("Task", "_lastUpdated=ge2020-01-01"),
        ("Task", "_lastUpdated=gt2020&_lastUpdated=lt2099"),
        ("Encounter", f"identifier={namespace.SID_INCIDENT}|I-77"),
        ("Encounter", "identifier=I-77"),
        ("Encounter", "class=FLD"),
        ("Patient", "gender=male"),
    ],
)
def test_a_search_finds_what_it_names(case: Case, resource_type: str, query: str) -> None:
    copies = case.record().offer()
    found = find(case.database, a_caller("clinic"), resource_type, query)
    assert (found["total"], ids(found)) == (1, [copies[resource_type].id])


@pytest.mark.parametrize(
    ("resource_type", "query"),
    [
        ("Task", "owner=Organization/second-clinic"),
        ("Task", "owner=http://elsewhere.example/fhir/Organization/clinic"),
        ("Task", "status=accepted"),
        ("Task", "status=urn:other|requested"),
        ("Task", "status=requested&status=accepted"),
        ("Task", "_lastUpdated=lt2020-01-01"),
        ("Task", "_id=nothing"),
        ("Task", "owner="[:-1] + "=,"),
        ("Encounter", "identifier=26-0001"),
    ],
)
def test_a_search_finds_nothing_else(case: Case, resource_type: str, query: str) -> None:
    case.record().offer()
    assert find(case.database, a_caller("clinic"), resource_type, query)["total"] == 0


def test_patient_and_id_find_by_the_copys_own_address_only(case: Case) -> None:
    copies = case.record().offer()
    clinic = a_caller("clinic")
    assert ids(find(case.database, clinic, "Task", f"patient=Patient/{copies['Patient'].id}")) == [copies["Task"].id]
    assert ids(find(case.database, clinic, "Encounter", f"patient={copies['Patient'].id}")) == [copies["Encounter"].id]
    assert ids(find(case.database, clinic, "Task", f"_id={copies['Task'].id},x")) == [copies["Task"].id]
    assert find(case.database, clinic, "Task", f"patient={case.recorded['Patient'].id}")["total"] == 0


def test_one_cannot_search_by_an_element_one_may_not_see(case: Case) -> None:
    copies = case.record().offer()
    clinic = a_caller("clinic")
    hidden = {"system": namespace.SID_RMS_CASE_NUMBER, "value": "26-0001"}
    case.change(copies["Encounter"], identifier=[hidden, *copies["Encounter"].body["identifier"]])
    assert find(case.database, clinic, "Encounter", "identifier=26-0001")["total"] == 0
    assert find(case.database, clinic, "Encounter", f"identifier={namespace.SID_RMS_CASE_NUMBER}|")["total"] == 0
    assert find(case.database, clinic, "Encounter", "identifier=I-77")["total"] == 1
    assert "26-0001" not in str(body(records.read(case.database, clinic, "Encounter", copies["Encounter"].id)))


def test_a_reference_to_a_hidden_resource_is_one_to_nothing(case: Case) -> None:
    copies = case.record().offer()
    hidden = case.recorded["Patient"].reference
    answers = []
    for target in (hidden, "Patient/never-existed"):
        case.change(copies["Encounter"], subject={"reference": target})
        answers.append(body(records.read(case.database, a_caller("clinic"), "Encounter", copies["Encounter"].id))["subject"])
        assert find(case.database, a_caller("clinic"), "Encounter", f"subject={target}")["total"] == 0
    assert answers[0] == answers[1]
    assert "reference" not in answers[0]


def _crowd(database: Database, count: int, *, hidden: int) -> None:
    for place in range(count):
        Case(database).record().offer("clinic")
        if place < hidden:
            Case(database).record().offer("second-clinic")


def test_paging_visits_everything_once_in_order_and_tells_the_exact_total(database: Database) -> None:
    _crowd(database, 5, hidden=3)
    clinic = a_caller("clinic")
    seen: list[str] = []
    page = find(database, clinic, "Task", "_count=2&status=requested")
    while True:
        assert page["total"] == 5
        seen += ids(page)
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        page = find(database, clinic, "Task", urlsplit(following[0]).query)
    assert len(seen) == len(set(seen)) == 5
    assert seen == ids(find(database, clinic, "Task"))


def _shape(bundle: dict[str, Any]) -> dict[str, Any]:
    """A searchset without what the server chooses: ids, times, sealed keys."""
    return {
        "total": bundle.get("total"),
        "relations": [link["relation"] for link in bundle["link"]],
        "lengths": [len(link["url"]) for link in bundle["link"]],
        "entries": [sorted(entry["resource"]) for entry in bundle.get("entry", [])],
        "keys": sorted(bundle),
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "_count=1",
        "_count=2",
        "_count=0",
        "_count=3",
        "status=requested",
        "status=accepted",
        "owner=second-clinic&_count=1",
        "_lastUpdated=gt2020",
    ],
)
def test_a_search_is_the_same_with_and_without_what_is_hidden(database: Database, tmp_path: Path, query: str) -> None:
    other = fresh_database(tmp_path / "other")
    publish_all(other)
    answers = []
    for hidden, store in ((0, database), (3, other)):
        _crowd(store, 3, hidden=hidden)
        bundle = find(store, a_caller("clinic"), "Task", query)
        answers.append([_shape(bundle)])
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if following:
            answers[-1].append(_shape(find(store, a_caller("clinic"), "Task", urlsplit(following[0]).query)))
    assert answers[0] == answers[1]


def test_a_continuation_tells_nothing_and_serves_nobody_else(database: Database) -> None:
    _crowd(database, 3, hidden=0)
    page = find(database, a_caller("clinic"), "Task", "_count=1")
    link = next(link["url"] for link in page["link"] if link["relation"] == "next")
    assert not any(task in link for task in ids(find(database, a_caller("clinic"), "Task")))
    query = urlsplit(link).query
    for caller in (a_caller("second-clinic"), a_caller("clinic", "COC")):
        with pytest.raises(Malformed):
            find(database, caller, "Task", query)
    for forged in (query[:-3] + "AAA", query.replace("_count=1", "_count=1&status=requested"), "_page=x", "_page=%00"):
        with pytest.raises(Malformed):
            find(database, a_caller("clinic"), "Task", forged)


def test_a_read_and_a_search_write_one_audit_row_each(case: Case) -> None:
    copies = case.record(a_consent()).offer()
    clinic = a_caller("clinic")
    records.read(case.database, clinic, "Patient", copies["Patient"].id)
    find(case.database, clinic, "Task", "status=requested")
    with case.database.read() as unit:
        rows = audit_rows(unit, client="clinic-client")
    assert [(row.action, row.outcome, row.policy_row) for row in rows] == [("read", "success", "A01"), ("search", "success", "A04")]
    assert f"Patient/{copies['Patient'].id}/_history/1" in rows[0].body
    assert case.recorded["Patient"].id not in "".join(row.body for row in rows)
    assert "Doe" not in "".join(row.body for row in rows)


def test_no_audit_row_no_answer(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import text

    task = case.record().offer()["Task"]
    case.database.write(lambda unit: unit.connection.execute(text("DROP TABLE audit_event")))
    with pytest.raises(Unavailable):
        records.read(case.database, a_caller("clinic"), "Task", task.id)
    with pytest.raises(Unavailable):
        find(case.database, a_caller("clinic"), "Task")


def test_a_revocation_between_decision_and_audit_row_is_decided_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = case.record(a_consent()).offer()
    write, revoked = case.database.write, []

    def late(work: Any) -> Any:
        if not revoked:
            revoked.append(True)
            case.change(case.recorded["Consent"], status="inactive")
        return write(work)

    monkeypatch.setattr(type(case.database), "write", lambda _self, work: late(work) if not revoked else write(work))
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic"), "Patient", copies["Patient"].id)
    assert revoked


def test_an_epoch_that_never_rests_is_unavailable(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    task = case.record().offer()["Task"]

    def moved(_unit: Unit, _seen: int) -> None:
        raise reading.EpochMoved

    monkeypatch.setattr(reading, "confirm_epoch", moved)
    with pytest.raises(Unavailable):
        records.read(case.database, a_caller("clinic"), "Task", task.id)


def test_permits_that_differ_from_the_full_decision_fail_the_request(case: Case) -> None:
    from sqlalchemy import text

    task = case.record().offer()["Task"]
    case.database.write(lambda unit: unit.connection.execute(text("UPDATE party SET closed_at = opened_at, keeps_task = 0")))
    with pytest.raises(records.VisibilityFault):
        records.read(case.database, a_caller("clinic"), "Task", task.id)
    with pytest.raises(records.VisibilityFault):
        find(case.database, a_caller("clinic"), "Task")


def test_a_change_of_what_an_organisation_is_voids_its_permits_until_rebuilt(case: Case) -> None:
    task = case.record().offer()["Task"]
    changed = a_caller("clinic", postures=("covered_entity", "state"))
    with pytest.raises(NotFound):
        records.read(case.database, changed, "Task", task.id)


def test_a_party_knows_whose_request_it_is_and_a_stranger_does_not(case: Case) -> None:
    case.record().offer()
    assert body(records.read(case.database, a_caller("clinic"), "Organization", "police"))["name"] == "Police"
    for who in ("second-clinic", "hospital"):
        with pytest.raises(NotFound):
            records.read(case.database, a_caller(who), "Organization", "police")
    assert ids(find(case.database, a_caller("clinic"), "Organization")) == ["clinic", "police"]
