"""Closed by default: every route but the public ones needs a token that covers it, and a stranger learns nothing of what there is."""

from __future__ import annotations

import pytest
from werkzeug.routing import Map, Rule

from gateway.app import create_app
from gateway.web import guard

NOBODY = "nobody-will-ever-have-this-id"


def unguarded(app):
    """Endpoints that are neither public nor say what they need."""
    return sorted(
        {rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint not in guard.PUBLIC and not guard.door_of(app, rule.endpoint)}
    )


def address_of(rule: Rule) -> str:
    """An address that a rule matches."""
    found: str = Map([rule.empty()]).bind("").build(rule.endpoint, dict.fromkeys(rule.arguments, NOBODY))
    return found


def guarded(app):
    return [
        (method, address_of(rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in guard.PUBLIC
        for method in sorted(rule.methods or ())
    ]


def test_every_route_is_public_by_name_or_says_what_it_needs(gateway):
    assert unguarded(gateway.app) == []


def test_a_planted_route_that_says_nothing_is_found_and_refused_to_everybody(gateway):
    app = create_app(gateway.services)
    app.add_url_rule("/planted", "planted", lambda: "everything")
    assert unguarded(app) == ["planted"]
    for actor in gateway.actors.values():
        answer = app.test_client().get("/planted", headers={"Authorization": f"Bearer {actor.token}"})
        assert answer.status_code == 403
        assert b"everything" not in answer.get_data()


def test_the_public_routes_are_these_and_no_others(gateway):
    public = {address_of(rule) for rule in gateway.app.url_map.iter_rules() if rule.endpoint in guard.PUBLIC}
    assert public == {
        "/.well-known/oauth-authorization-server",
        "/fhir/.well-known/smart-configuration",
        "/fhir/metadata",
        "/healthz",
        f"/intake/{NOBODY}/schema",
        "/oauth/jwks",
        "/oauth/token",
        "/readyz",
    }


def test_without_a_token_every_guarded_route_answers_the_same_challenge(gateway):
    http = gateway.app.test_client()
    answers = [http.open(path, method=method) for method, path in guarded(gateway.app)]
    assert len(answers) > 30
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="crisis-referral-gateway"'}


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer äöü", "bearer x" * 2000, "Bearer never-given"])
def test_what_is_no_token_of_ours_is_refused(gateway, header):
    answer = gateway.app.test_client().get("/fhir/Task", headers={"Authorization": header.encode().decode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_an_address_that_does_not_exist_looks_like_one_that_does_to_a_stranger(gateway):
    http = gateway.app.test_client()
    answers = [http.get(path) for path in ("/fhir/Task", "/fhir/Nothing", "/nowhere", "/admin", "/fhir/Task/1/2/3")]
    assert {(answer.status_code, answer.json["issue"][0]["code"]) for answer in answers} == {(401, "login")}


def test_with_a_token_an_address_that_does_not_exist_is_not_found(gateway):
    assert gateway.as_alder_ehr.get("/fhir/Nothing").status_code == 404
    assert gateway.as_rms.get("/nowhere").status_code == 404


def test_a_method_that_is_not_offered_names_those_that_are(gateway):
    answer = gateway.as_alder_ehr.call("DELETE", "/fhir/Task/1")
    assert answer.status_code == 405
    assert {"GET", "PUT", "PATCH"} <= {method.strip() for method in answer.headers["Allow"].split(",")}
    assert gateway.app.test_client().get("/oauth/token").status_code == 405
    assert gateway.app.test_client().delete("/fhir/Task/1").status_code == 401
    assert gateway.app.test_client().options("/fhir/Task").status_code == 401


def test_a_token_in_the_address_is_not_taken(gateway):
    token = gateway.as_alder_ehr.token
    assert gateway.app.test_client().get(f"/fhir/Task?access_token={token}").status_code == 401


@pytest.mark.parametrize("scope", ["system/Task.s", "system/Task.u", "system/Patient.rs"])
def test_a_scope_is_decided_by_type_before_anything_is_looked_up(gateway, scope):
    gateway.refer()
    there = gateway.as_alder_ehr.the_task()["id"]
    narrow = gateway.as_alder_ehr.with_scope(scope)
    answers = [narrow.get(f"/fhir/Task/{name}") for name in (there, NOBODY)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json["issue"] == answers[1].json["issue"]
    assert "insufficient_scope" in answers[0].headers["WWW-Authenticate"]


def test_every_receiver_is_refused_at_the_intake_and_every_sender_at_fhir(gateway):
    assert gateway.as_alder_ehr.send({}).status_code == 403
    assert gateway.as_rms.get("/fhir/Patient").status_code == 403
    assert gateway.as_alder_ehr.get("/referrals/any").status_code == 403


def test_every_answer_has_a_request_id_and_is_not_to_be_kept(gateway):
    for answer in (gateway.as_alder_ehr.get("/fhir/Task"), gateway.app.test_client().get("/fhir/Task"), gateway.as_rms.get("/nowhere")):
        assert answer.headers["X-Request-Id"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
