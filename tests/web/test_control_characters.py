"""An id, a receipt or a parameter with a control character is like one that never was, on either database."""

from __future__ import annotations

import pytest

NUL = ["%00", "a%00b", "%1F", "%0A", "%C2%85"]


def answer_of(answer):
    return answer.status_code, answer.get_data(), sorted(name for name, _ in answer.headers)


@pytest.mark.parametrize("character", NUL)
@pytest.mark.parametrize(
    ("actor", "method", "address", "more"),
    [
        ("alder-ehr", "GET", "/fhir/Task/{}", {}),
        ("alder-ehr", "HEAD", "/fhir/Patient/{}", {}),
        ("rms", "GET", "/referrals/{}", {}),
        ("rms", "POST", "/referrals/{}/cancel", {}),
        ("alder-ehr", "PATCH", "/fhir/Consent/{}", {"data": "[]", "content_type": "application/json-patch+json"}),
        ("alder-ehr", "PATCH", "/fhir/Task/{}", {"data": "[]", "content_type": "application/json-patch+json"}),
        ("rms", "GET", "/nowhere/{}", {}),
        ("rms", "GET", "/intake/{}/schema", {}),
    ],
)
def test_an_address_with_a_control_character_is_one_that_never_was(gateway, actor, method, address, more, character):
    caller = gateway.actors[actor]
    caller.token  # noqa: B018 (got before the rows are counted)
    before = len(gateway.audit())
    answers = [caller.call(method, address.format(name), **more) for name in (character, "never-was")]
    assert answer_of(answers[0]) == answer_of(answers[1])
    assert answers[0].status_code == 404
    assert len(gateway.audit()) - before in (0, 2)  # a public address has no row, either way


@pytest.mark.parametrize("character", NUL)
def test_the_scope_is_asked_first_and_a_stranger_learns_nothing(gateway, character):
    assert gateway.as_rms.get(f"/fhir/Task/{character}").status_code == 403
    assert gateway.app.test_client().get(f"/fhir/Task/{character}").status_code == 401


@pytest.mark.parametrize("character", NUL)
@pytest.mark.parametrize(
    "query",
    [
        "_id={}",
        "status={}",
        "identifier=a|{}",
        "identifier={}|a",
        "identifier={}|",
        "patient={}",
        "patient=Patient/{}",
        "patient:Patient={}",
        "owner=Organization/{}",
        "business-status={}",
    ],
)
def test_a_parameter_with_a_control_character_matches_nothing(gateway, query, character):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    answers = [ehr.get(f"/fhir/Task?{query.format(value)}") for value in (character, "never-was")]
    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        assert (answer.json["total"], "entry" in answer.json) == (0, False)
    posted = ehr.call("POST", "/fhir/Task/_search", data=query.format(character), content_type="application/x-www-form-urlencoded")
    assert (posted.status_code, posted.json["total"]) == (200, 0)


def test_of_several_values_the_others_still_match(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    assert [found["id"] for found in ehr.search("Task", f"?_id=%00,{task['id']}")] == [task["id"]]
    assert [found["id"] for found in ehr.search("Task", "?status=%00,requested")] == [task["id"]]


@pytest.mark.parametrize("query", ["_page=%00", "_lastUpdated=%00", "_count=%00", "status%00=x", "zz=%00", "_format=%00"])
def test_no_other_parameter_breaks_on_one(gateway, query):
    gateway.refer()
    for headers in ({}, {"Prefer": "handling=strict"}):
        assert gateway.as_alder_ehr.get(f"/fhir/Task?{query}", headers=headers).status_code in (200, 400)


def test_a_body_with_one_breaks_nothing(gateway):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    coded = {"coding": [{"system": "https://example.org/a\x00b", "code": "a\x00b"}], "text": "a\x00b"}
    assert ehr.put(task, businessStatus=coded).status_code == 422
    assert ehr.put(task, note=[{"text": "a\x00b"}]).status_code == 422
    assert ehr.put(task, id="\x00").status_code == 400
    assert gateway.as_rms.ask_token(client_id="\x00").status_code == 400
    rms = gateway.as_rms
    assert rms.ask_token(client_assertion=rms.assertion(iss="a\x00b", sub="a\x00b")).status_code == 401
    assert rms.ask_token(client_assertion=rms.assertion(jti="a\x00b")).status_code == 200  # kept as a hash
