"""What a stranger may learn, and whether it is true."""

from __future__ import annotations

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from gateway.oauth.scopes import parse_scopes
from gateway.web.metadata import authorization_server_document, scopes_supported, smart_document
from profiles.engine import r4
from tests.world import BASE

SMART = "/fhir/.well-known/smart-configuration"
METADATA = "/.well-known/oauth-authorization-server"
CAPABILITIES = "/fhir/metadata"


@pytest.fixture
def stranger(quiet_gateway):
    return quiet_gateway.app.test_client()


@pytest.mark.parametrize("accept", ["application/json", "application/fhir+json", "*/*", "text/html", "application/xml", ""])
def test_the_smart_configuration_is_json_whatever_accept_says(stranger, accept):
    answer = stranger.get(SMART, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


def test_the_smart_configuration_names_what_a_backend_client_needs(stranger):
    document = stranger.get(SMART).json
    assert document["token_endpoint"] == f"{BASE}/oauth/token"
    assert document["jwks_uri"] == f"{BASE}/oauth/jwks"
    assert document["grant_types_supported"] == ["client_credentials"]
    assert set(document["capabilities"]) == {"client-confidential-asymmetric", "permission-v2"}
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert set(document["token_endpoint_auth_signing_alg_values_supported"]) == {"ES384", "RS384"}
    assert not {"issuer", "authorization_endpoint", "introspection_endpoint"} & set(document)


def test_each_scope_that_is_named_can_be_granted_and_is_canonical():
    assert {"system/Task.rus", "system/Consent.rus", "__gateway.intake.rms-diversion"} <= set(scopes_supported())
    for scope in scopes_supported():
        assert str(parse_scopes(scope)) == scope


def test_the_two_documents_agree(stranger):
    smart, metadata = stranger.get(SMART).json, stranger.get(METADATA).json
    assert metadata["issuer"] == BASE
    assert {name for name in smart if name in metadata and smart[name] != metadata[name]} == set()
    assert set(smart) - set(metadata) == {"capabilities", "code_challenge_methods_supported"}


def test_authlib_finds_the_metadata_sound():
    document = authorization_server_document("https://gateway.example")
    # it wants a response type named; a server without an authorization endpoint has none
    AuthorizationServerMetadata({**document, "response_types_supported": ["token"]}).validate()


def test_every_address_is_absolute_and_below_the_base_url():
    for document in (smart_document("https://gateway.example/sub"), authorization_server_document("https://gateway.example/sub")):
        assert all(
            value.startswith("https://gateway.example/sub") for name, value in document.items() if name.endswith(("_endpoint", "_uri"))
        )


@pytest.mark.parametrize("path", [SMART, METADATA, CAPABILITIES])
def test_the_host_header_changes_nothing(stranger, path):
    plain = stranger.get(path)
    assert stranger.get(path, headers={"Host": "attacker.example", "X-Forwarded-Host": "attacker.example"}).data == plain.data
    assert b"attacker" not in plain.data


@pytest.mark.parametrize("path", [SMART, METADATA, CAPABILITIES])
def test_the_public_documents_may_be_read_by_scripts_of_any_origin(stranger, path):
    answer = stranger.get(path, headers={"Origin": "https://app.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_nothing_else_may_be_read_by_scripts(quiet_gateway, stranger):
    ehr = quiet_gateway.as_northside_ehr
    for answer in (ehr.ask_token(), ehr.get("/fhir/Task"), stranger.get("/fhir/Task"), stranger.get("/oauth/jwks")):
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_capability_statement_is_valid_and_names_this_server(stranger):
    answer = stranger.get(CAPABILITIES, headers={"Accept": "application/fhir+json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/fhir+json")
    assert [issue for issue in r4().validate(answer.json) if issue.severity in ("error", "fatal")] == []
    assert answer.json["implementation"]["url"] == f"{BASE}/fhir"
    assert answer.json["software"]["version"]


def test_a_capability_statement_in_another_form_is_not_offered(stranger):
    assert stranger.get(CAPABILITIES, headers={"Accept": "application/fhir+xml"}).status_code == 406


def test_the_published_keys_are_public(quiet_gateway, stranger):
    answer = stranger.get("/oauth/jwks")
    assert answer.status_code == 200
    assert answer.json == quiet_gateway.services.keys.public_jwks()
    assert all({"d", "p", "q", "k"}.isdisjoint(key) for key in answer.json["keys"])


@pytest.mark.parametrize("path", [SMART, METADATA, CAPABILITIES, "/oauth/jwks"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_public_documents_are_only_read(stranger, path, method):
    assert stranger.open(path, method=method).status_code == 405
