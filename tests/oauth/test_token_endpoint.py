"""The token endpoint's form, what it grants, and the purpose it binds."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from requests import Response, Session
from requests.adapters import BaseAdapter

from gateway.errors import Unavailable
from gateway.oauth.scopes import parse_scopes
from gateway.oauth.tokens import authenticate
from gateway.store.registry import client_of, put_client
from tests.oauth.signing import ASSERTION_TYPE, TOKEN_URL, ask, claims_of, sign
from tests.oauth.test_assertion import given, refused

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def rms(quiet_gateway):
    return quiet_gateway.as_rms


def form_of(actor, **changes):
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": actor.assertion(),
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


def post(actor, body, content_type=FORM, query="", **headers):
    return actor.http.post(f"/oauth/token{query}", data=body, content_type=content_type, headers=headers)


def register(world, name, **changes):
    """Change a client's registration."""

    def work(unit):
        put_client(unit, replace(client_of(unit, name), **changes))

    world.services.database.write(work)


def test_a_token_answer_has_what_rfc_6749_and_smart_ask_for(rms):
    answer = rms.ask_token()
    body = given(answer)
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("bearer", 300, "__gateway.intake.rms-diversion")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_two_tokens_have_nothing_in_common(rms):
    first, second = (given(rms.ask_token())["access_token"] for _ in range(2))
    assert first != second
    assert len(first) == len(second) == 43


# check 1


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", "", "application/x-www-form-urlencoded-2"]
)
def test_only_a_form_is_read(rms, kind):
    refused(post(rms, urlencode(form_of(rms)), kind), status=400, error="invalid_request")


def test_a_form_may_name_its_charset(rms):
    given(post(rms, urlencode(form_of(rms)), f"{FORM}; charset=UTF-8"))


@pytest.mark.parametrize("query", ["?grant_type=client_credentials", "?x=1", "?scope=system/Task.rs", "?x"])
def test_nothing_is_read_from_the_query(rms, query):
    refused(post(rms, urlencode(form_of(rms)), query=query), status=400, error="invalid_request")


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_assertion", "client_assertion_type", "client_id", "unknown"])
def test_a_parameter_sent_twice_is_refused(rms, name):
    form = [*form_of(rms, scope="__gateway.intake.rms-diversion").items()]
    value = dict(form).get(name, "x")
    twice = [pair for pair in form if pair[0] != name] + [(name, value), (name, value)]
    refused(post(rms, urlencode(twice)), status=400, error="invalid_request")


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"grant_type=%ff%fe", b"&".join([b"a%d=b" % number for number in range(60)]), b"x=" + b"y" * 33_000]
)
def test_a_body_that_is_no_small_form_is_refused(rms, body):
    refused(post(rms, body), status=400, error="invalid_request")


def test_an_empty_body_is_refused(rms):
    refused(post(rms, b""), status=400, error="invalid_request")


def test_an_unknown_parameter_is_ignored(rms):
    given(post(rms, urlencode(form_of(rms, resource="https://x.example/"))))


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        (None, "invalid_request"),
        ("", "invalid_request"),
        ("password", "unsupported_grant_type"),
        ("authorization_code", "unsupported_grant_type"),
        ("Client_credentials", "unsupported_grant_type"),
    ],
)
def test_only_client_credentials_is_offered(rms, grant_type, error):
    refused(post(rms, urlencode(form_of(rms, grant_type=grant_type))), status=400, error=error)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_the_token_endpoint_is_posted_to(rms, method):
    answer = rms.http.open("/oauth/token", method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


def test_a_second_way_to_authenticate_is_refused(rms):
    refused(post(rms, urlencode(form_of(rms, client_secret="x"))), status=400, error="invalid_request")
    answer = post(rms, urlencode(form_of(rms)), Authorization="Basic cm1zOng=")
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_another_way_to_authenticate_is_refused(rms):
    refused(post(rms, urlencode(form_of(rms, client_assertion=None, client_secret="x"))))


def test_authentication_in_the_header_is_answered_with_a_challenge(rms):
    answer = post(rms, urlencode(form_of(rms, client_assertion=None)), Authorization="Basic cm1zOng=")
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_database_out_of_reach_is_said_in_the_form_of_oauth_and_uses_nothing_up(gateway, monkeypatch):
    def write(self, work):
        raise Unavailable

    assertion = gateway.as_rms.assertion()
    with monkeypatch.context() as patch:
        patch.setattr(type(gateway.services.database), "write", write)
        answer = ask(gateway.as_rms, assertion)
        assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
        assert answer.headers["Retry-After"]
    given(ask(gateway.as_rms, assertion))


# scopes


def test_what_was_not_asked_for_by_name_is_all_that_is_registered(quiet_gateway):
    ehr = quiet_gateway.as_northside_ehr
    body = given(post(ehr, urlencode(form_of(ehr))))
    assert body["scope"] == str(parse_scopes(ehr.scope))
    assert given(post(ehr, urlencode(form_of(ehr, scope=""))))["scope"] == body["scope"]


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/Task.r", "system/Task.r"),
        ("system/Task.cruds", "system/Task.rus"),
        ("system/Task.read launch openid", "system/Task.rs"),
        ("system/Flag.rs system/MedicationRequest.cruds", "system/Flag.rs"),
        ("system/Task.r patient/Task.cruds user/*.*", "system/Task.r"),
        ("system/Task.rs?status=requested system/Flag.r", "system/Flag.r"),
    ],
)
def test_granted_is_what_was_asked_for_and_registered(quiet_gateway, asked, granted):
    assert given(quiet_gateway.as_northside_ehr.ask_token(scope=asked))["scope"] == granted


@pytest.mark.parametrize(
    "asked", ["system/MedicationRequest.rs", "system/Task.cd", "system/Task.rs?status=x", "patient/Task.rs", "openid", 'a"b', "süd", "a\nb"]
)
def test_a_scope_of_which_nothing_is_left_is_refused(quiet_gateway, asked):
    refused(quiet_gateway.as_northside_ehr.ask_token(scope=asked), status=400, error="invalid_scope")


def test_an_assertion_refused_for_its_scope_gave_no_token_and_may_be_sent_again(rms):
    assertion = rms.assertion()
    refused(ask(rms, assertion, scope="system/Task.rs"), status=400, error="invalid_scope")
    given(ask(rms, assertion))
    refused(ask(rms, assertion))


# purpose


def with_b2b(actor, b2b, *, name="rms"):
    return ask(actor, sign(actor.key, claims_of(name, extensions={"hl7-b2b": b2b})))


def purpose_of(world, answer):
    return authenticate(world.services.database, given(answer)["access_token"], "request").purpose


@pytest.mark.parametrize("code", ["COC", "urn:oid:2.16.840.1.113883.5.8#COC", "http://terminology.hl7.org/CodeSystem/v3-ActReason#COC"])
def test_a_stated_purpose_is_bound_to_the_token_however_its_code_is_written(gateway, code):
    register(gateway, "rms", purposes=frozenset({"COC", "TREAT"}))
    b2b = {"version": "1", "purpose_of_use": [code, "COC"], "organization_id": "https://riverton.example/"}
    assert purpose_of(gateway, with_b2b(gateway.as_rms, b2b)) == "COC"


def test_the_single_registered_purpose_needs_not_be_stated(gateway):
    assert purpose_of(gateway, gateway.as_rms.ask_token()) == "COC"
    assert purpose_of(gateway, ask(gateway.as_rms, sign(gateway.as_rms.key, claims_of("rms", extensions={"other": 1})))) == "COC"


def test_of_several_registered_purposes_one_is_to_be_stated(gateway):
    register(gateway, "rms", purposes=frozenset({"COC", "TREAT"}))
    assert "state one" in refused(gateway.as_rms.ask_token(), status=400, error="invalid_grant")
    assert purpose_of(gateway, with_b2b(gateway.as_rms, {"version": "1", "purpose_of_use": ["TREAT"]})) == "TREAT"


def test_a_client_without_a_purpose_gets_no_token(gateway):
    register(gateway, "rms", purposes=frozenset())
    refused(gateway.as_rms.ask_token(), status=400, error="unauthorized_client")
    refused(with_b2b(gateway.as_rms, {"version": "1", "purpose_of_use": ["COC"]}), status=400, error="unauthorized_client")


@pytest.mark.parametrize(
    "b2b",
    [
        {"version": "1", "purpose_of_use": ["TREAT"]},
        {"version": "1", "purpose_of_use": ["COC", "TREAT"]},
        {"version": "1", "purpose_of_use": ["http://other.example/codes#COC"]},
        {"version": "1", "purpose_of_use": ["coc"]},
        {"version": "1", "purpose_of_use": ["#COC"]},
        {"version": "1", "purpose_of_use": [""]},
        {"version": "1", "purpose_of_use": [7]},
        {"version": "1", "purpose_of_use": [["COC"]]},
        {"version": "1", "purpose_of_use": []},
        {"version": "1", "purpose_of_use": "COC"},
        {"version": "1", "purpose_of_use": ["COC"] * 21},
        {"version": "1"},
        {"version": "2", "purpose_of_use": ["COC"]},
        {"version": 1, "purpose_of_use": ["COC"]},
        {"purpose_of_use": ["COC"]},
        {},
        [],
        "COC",
        None,
    ],
)
def test_a_purpose_that_is_not_one_registered_is_refused(rms, b2b):
    refused(with_b2b(rms, b2b), status=400, error="invalid_grant")


@pytest.mark.parametrize("extensions", [[], "x", 7, True])
def test_extensions_that_are_no_object_are_refused(rms, extensions):
    refused(ask(rms, sign(rms.key, claims_of("rms", extensions=extensions))), status=400, error="invalid_grant")


# a client that others wrote


class ToTheGateway(BaseAdapter):
    """Carries what a requests session sends to the application."""

    def __init__(self, http):
        super().__init__()
        self.http = http

    def send(self, request, **_):
        given_answer = self.http.open(request.path_url, method=request.method, data=request.body, headers=dict(request.headers))
        answer = Response()
        answer.status_code, answer.headers, answer._content = given_answer.status_code, given_answer.headers, given_answer.data
        answer.request, answer.url = request, request.url
        return answer

    def close(self):
        """Nothing is open."""


def test_authlibs_client_gets_a_token_once_told_of_smarts_five_minutes(rms):
    session: Session = OAuth2Session(rms.name, rms.key, token_endpoint_auth_method="private_key_jwt")
    claims = {"exp": int(time.time()) + 240}  # its own default of an hour is refused
    session.register_client_auth_method(PrivateKeyJWT(TOKEN_URL, claims=claims, headers={"kid": rms.key.kid}, alg="ES384"))
    session.mount("http://", ToTheGateway(rms.http))
    token = session.fetch_token(TOKEN_URL, grant_type="client_credentials")
    assert token["scope"] == rms.scope
