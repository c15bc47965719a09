"""What a token is good for: 300 seconds, its organisation, its purpose, and what is registered at the moment of use."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from gateway.errors import Unauthenticated
from gateway.oauth.tokens import authenticate
from gateway.store import tokens
from gateway.store.database import Database
from gateway.store.registry import Organization, find_organization, put_organization
from gateway.store.statements import Plan
from tests.oauth.test_token_endpoint import register


def token_of(actor, **form):
    return actor.ask_token(**form).json["access_token"]


def caller_of(world, token):
    return authenticate(world.services.database, token, "the-request")


def rows(world):
    with world.services.database.read() as unit:
        return unit.connection.execute(tokens.AccessTokenRow.__table__.select()).mappings().all()


def no_caller(world, token):
    with pytest.raises(Unauthenticated) as refused:
        caller_of(world, token)
    assert refused.value.presented
    return refused.value.issues[0].code


def test_a_token_names_its_caller(gateway):
    caller = caller_of(gateway, token_of(gateway.as_northside_ehr, scope="system/Task.rs"))
    assert (caller.client_id, caller.organization, caller.organization_name) == (
        "northside-ehr",
        "northside-clinic",
        "Northside Crisis Clinic",
    )
    assert (caller.postures, caller.purpose, str(caller.scopes)) == (frozenset({"covered_entity"}), "TREAT", "system/Task.rs")
    assert caller.request_id == "the-request"


def test_a_token_lives_for_300_seconds(gateway):
    token_of(gateway.as_rms)
    [row] = rows(gateway)
    assert row["expires_at"] - row["issued_at"] == timedelta(seconds=300)


def test_the_token_itself_is_nowhere_in_the_database(gateway):
    token = token_of(gateway.as_rms)
    [row] = rows(gateway)
    assert row["digest"] == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(dict(row))
    assert caller_of(gateway, token).token_id == row["token_id"]


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 44, "' OR 1=1 --" + "a" * 32, "ü" * 43, "\x00" * 43])
def test_an_unknown_token_is_nobodys(gateway, token):
    assert no_caller(gateway, token) == "login"


def test_a_token_past_its_time_is_said_to_be_so(gateway, monkeypatch):
    monkeypatch.setattr("gateway.oauth.tokens.TOKEN_SECONDS", 0)
    token = token_of(gateway.as_northside_ehr)
    assert no_caller(gateway, token) == "expired"
    answer = gateway.app.test_client().get("/fhir/Task", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.json["issue"][0]["code"] == "expired"
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_token_opens_what_its_scope_names(gateway):
    ehr = gateway.as_northside_ehr
    headers = {"Authorization": f"Bearer {token_of(ehr, scope='system/Flag.rs')}"}
    assert ehr.http.get("/fhir/Flag", headers=headers).status_code == 200
    assert ehr.http.get("/fhir/Task", headers=headers).status_code == 403


def test_a_suspended_clients_tokens_are_dead_and_live_when_it_may_speak_again(gateway):
    token = token_of(gateway.as_rms)
    register(gateway, "rms", suspended=True)
    assert no_caller(gateway, token) == "login"
    register(gateway, "rms", suspended=False)
    assert caller_of(gateway, token).client_id == "rms"


def test_a_narrowed_registration_narrows_tokens_that_are_out(gateway):
    token = token_of(gateway.as_northside_ehr)
    register(gateway, "northside-ehr", scopes="system/Task.r system/Observation.rs")
    assert str(caller_of(gateway, token).scopes) == "system/Task.r"


def test_a_widened_registration_does_not_widen_tokens_that_are_out(gateway):
    token = token_of(gateway.as_northside_ehr, scope="system/Task.r")
    register(gateway, "northside-ehr", scopes="system/*.cruds __gateway.admin")
    assert str(caller_of(gateway, token).scopes) == "system/Task.r"


def test_a_token_for_a_purpose_that_is_not_registered_any_more_is_dead(gateway):
    token = token_of(gateway.as_rms)
    register(gateway, "rms", purposes=frozenset({"TREAT"}))
    assert no_caller(gateway, token) == "login"


def test_a_token_of_a_client_that_speaks_for_others_now_is_dead(gateway):
    token = token_of(gateway.as_rms)
    register(gateway, "rms", organization="lakeside-police")
    assert no_caller(gateway, token) == "login"


def test_name_and_postures_are_those_registered_now(gateway):
    token = token_of(gateway.as_rms)

    def rename(unit):
        before = find_organization(unit, "riverton-police")
        put_organization(unit, Organization(before.key, "Riverton Public Safety", before.postures | {"emergency_dispatch"}))

    gateway.services.database.write(rename)
    caller = caller_of(gateway, token)
    assert caller.organization_name == "Riverton Public Safety"
    assert caller.postures == {"criminal_justice_agency", "emergency_dispatch"}


def test_a_token_is_good_in_every_process_and_after_a_restart(gateway):
    token = token_of(gateway.as_rms)
    gateway.services.database.close()
    reopened = Database(gateway.services.settings.database_url)
    assert authenticate(reopened, token, "x").client_id == "rms"
    reopened.close()


def test_a_token_is_read_back_in_one_query(gateway, monkeypatch):
    token = token_of(gateway.as_rms)
    asked = []
    run = Plan.run
    monkeypatch.setattr(Plan, "run", lambda plan, unit, bound: asked.append(plan.sql) or run(plan, unit, bound))
    caller_of(gateway, token)
    assert len([statement for statement in asked if "access_token" in statement]) == 1


def test_tokens_long_past_their_time_are_swept_a_few_at_a_time(gateway, monkeypatch):
    monkeypatch.setattr(tokens, "SWEEP_ROWS", 2)
    monkeypatch.setattr(tokens, "SWEEP_AFTER", timedelta(days=1))
    monkeypatch.setattr("gateway.oauth.tokens.TOKEN_SECONDS", 0)
    for _ in range(5):
        token_of(gateway.as_rms)
    assert len(rows(gateway)) == 5
    monkeypatch.setattr(tokens, "SWEEP_AFTER", timedelta(0))
    monkeypatch.setattr("gateway.oauth.tokens.TOKEN_SECONDS", 300)
    fresh = token_of(gateway.as_rms)
    assert len(rows(gateway)) == 4
    token_of(gateway.as_rms)
    token_of(gateway.as_rms)
    assert len(rows(gateway)) == 3
    assert caller_of(gateway, fresh).client_id == "rms"
