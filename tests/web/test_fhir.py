"""The receiver's side over HTTP: its own Tasks, people, orders and encounters, read, searched and paged."""

from __future__ import annotations

from urllib.parse import quote

import pytest

PAGES = 50


def pages(ehr, address):
    """Every page of a search, by following its own links."""
    found = []
    for _ in range(PAGES):
        answer = ehr.get(address)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        found.append(answer.json)
        following = [link["url"] for link in answer.json["link"] if link["relation"] == "next"]
        if not following:
            return found
        address = following[0].removeprefix("http://gateway.test")
    raise AssertionError("the pages do not end")


def ids(bundle):
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def test_a_read_has_the_version_as_etag_and_the_media_type_of_fhir(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    answer = ehr.get(f"/fhir/Task/{task['id']}")
    assert answer.headers["ETag"] == f'W/"{task["meta"]["versionId"]}"'
    assert answer.headers["Last-Modified"]
    assert answer.mimetype == "application/fhir+json"


def test_a_head_is_a_read_without_its_body_and_is_audited_as_one(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    before = len(gateway.audit())
    answer = ehr.call("HEAD", f"/fhir/Task/{task['id']}")
    assert (answer.status_code, answer.get_data()) == (200, b"")
    assert answer.headers["ETag"]
    assert [row.action for row in gateway.audit()[before:]] == ["read"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=requested", 2),
        ("status=accepted", 1),
        ("status=requested,accepted", 3),
        ("status=completed", 0),
        ("owner=Organization/alder-case-management", 3),
        ("owner=Organization/birch-case-management", 0),
        ("owner=alder-case-management&status=accepted", 1),
        ("_lastUpdated=ge2020-01-01", 3),
        ("_lastUpdated=lt2020-01-01", 0),
        ("_lastUpdated=ge2020-01-01&_lastUpdated=lt2020-01-02", 0),
    ],
)
def test_own_tasks_are_found_by_status_owner_and_time(gateway, query, found):
    for _ in range(3):
        gateway.refer()
    ehr = gateway.as_alder_ehr
    ehr.put(ehr.open_tasks()[0], status="accepted")
    bundle = ehr.get(f"/fhir/Task?{query}").json
    assert len(bundle.get("entry", [])) == found
    assert gateway.as_birch_ehr.get(f"/fhir/Task?{query}").json.get("entry", []) == []


def test_what_belongs_to_one_person_is_found_by_patient(gateway):
    gateway.refer(person={"unidentified": True})
    gateway.refer()
    ehr = gateway.as_alder_ehr
    first = ehr.open_tasks()[0]
    patient = first["for"]["reference"]
    for kind in ("Task", "ServiceRequest", "Encounter"):
        assert len(ehr.search(kind, f"?patient={patient}")) == 1
        assert len(ehr.search(kind, f"?patient={patient.removeprefix('Patient/')}")) == 1
        assert ehr.search(kind, "?patient=Patient/never-was") == []
    assert [found["id"] for found in ehr.search("Patient", f"?_id={patient.removeprefix('Patient/')}")] == [
        patient.removeprefix("Patient/")
    ]


def test_pages_hold_every_match_once_and_only_the_receivers_own(gateway):
    for _ in range(7):
        gateway.refer()
    ehr = gateway.as_alder_ehr
    found = pages(ehr, "/fhir/Task?_count=3")
    assert [len(bundle.get("entry", [])) for bundle in found] == [3, 3, 1]
    everything = [one for bundle in found for one in ids(bundle)]
    assert len(set(everything)) == 7
    assert pages(gateway.as_birch_ehr, "/fhir/Task?_count=3")[0].get("entry", []) == []


def test_a_link_of_one_receiver_opens_nothing_to_another_and_nothing_when_changed(gateway):
    for _ in range(3):
        gateway.refer()
    first = gateway.as_alder_ehr.get("/fhir/Task?_count=1").json
    link = next(each["url"] for each in first["link"] if each["relation"] == "next").removeprefix("http://gateway.test")
    stranger = gateway.as_birch_ehr.get(link)
    assert stranger.status_code == 400 or stranger.json.get("entry", []) == []
    assert gateway.as_alder_ehr.get(link[:-2] + "AA").status_code == 400
    assert "Task/" not in quote(link.partition("?")[2])


def test_a_search_may_be_posted(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    form = {"data": "status=requested", "content_type": "application/x-www-form-urlencoded"}
    posted = ehr.call("POST", "/fhir/Task/_search", **form).json
    assert ids(posted) == ids(ehr.get("/fhir/Task?status=requested").json)


@pytest.mark.parametrize("query", ["shoe-size=44", "status:not=requested", "_lastUpdated=tomorrow", "_count=many", "patient.name=Jamie"])
def test_a_parameter_that_is_not_known_is_refused_when_strict_and_never_widens(gateway, query):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    strict = ehr.get(f"/fhir/Task?{query}", headers={"Prefer": "handling=strict"})
    assert strict.status_code == 400
    lenient = ehr.get(f"/fhir/Task?{query}")
    assert lenient.status_code in (200, 400)
    assert all(one in ids(ehr.get("/fhir/Task").json) for one in ids(lenient.json))


@pytest.mark.parametrize("kind", ["Patient", "ServiceRequest", "Encounter", "Task"])
def test_a_hidden_resource_and_one_that_never_was_are_one(gateway, kind):
    gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    own = {
        "Patient": task["for"],
        "ServiceRequest": task["focus"],
        "Encounter": task["encounter"],
        "Task": {"reference": f"Task/{task['id']}"},
    }
    hidden = gateway.as_birch_ehr.get(f"/fhir/{own[kind]['reference']}")
    never = gateway.as_birch_ehr.get(f"/fhir/{kind}/never-was")
    assert hidden.status_code == never.status_code == 404
    assert hidden.get_data() == never.get_data()
    names = [sorted(name for name, _ in answer.headers) for answer in (hidden, never)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"resourceType": "Task", "resourceType": "Task"}', 400),
        (b'{"resourceType": "Task", "x": NaN}', 400),
        (b'{"resourceType": "Patient"}', 400),
        (b"[]", 400),
        (b"[" * 70 + b"]" * 70, 413),
    ],
)
def test_a_malformed_update_changes_nothing(gateway, body, status):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    headers = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}
    answer = ehr.call("PUT", f"/fhir/Task/{task['id']}", data=body, content_type="application/fhir+json", headers=headers)
    assert answer.status_code == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert ehr.get(f"/fhir/Task/{task['id']}").json == task


def test_a_task_that_breaks_several_rules_gets_one_issue_each(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    answer = ehr.put(ehr.the_task(), status="banana", priority="soon", authoredOn="2026-02-30")
    assert answer.status_code == 422
    places = {place for issue in answer.json["issue"] for place in issue.get("expression", [])}
    assert {"Task.status", "Task.priority", "Task.authoredOn"} <= places


def test_nothing_is_made_or_put_where_there_was_nothing(gateway):
    ehr = gateway.as_alder_ehr
    task = {"resourceType": "Task", "id": "never-was", "status": "accepted", "intent": "order"}
    answer = ehr.call("PUT", "/fhir/Task/never-was", json=task, content_type="application/fhir+json", headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 404
    assert ehr.call("POST", "/fhir/Task", json=task).status_code == 405
