"""What a stranger may learn: the CapabilityStatement, the SMART configuration and the RFC 8414 metadata.

Each is made of the tables the routes are made of and of the settings, never of a request: the Host header changes nothing. These
three are the only answers a script of another origin may read.
Source: FHIR R4 capabilities; SMART App Launch 2.2, conformance; RFC 8414.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

import mappings
from gateway.access.disclosed import Static
from gateway.errors import NotAcceptable
from gateway.fhir.capability import capability_statement as statement_of
from gateway.fhir.interactions import FHIR_JSON, INTERACTIONS, accepts_json
from gateway.oauth.assertion import ALGORITHMS
from gateway.oauth.scopes import LETTERS
from gateway.oauth.tokens import GRANT_TYPE, TOKEN_PATH
from gateway.web.outcomes import render
from profiles.strict_json import to_json

DISTRIBUTION: Final = "crisis-referral-gateway"
PUBLIC_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}
blueprint = Blueprint("metadata", __name__)


@blueprint.get("/fhir/metadata")
def capability_statement() -> Response:
    """The CapabilityStatement."""
    if not accepts_json(request.headers.get("Accept")):
        raise NotAcceptable
    return render(Static(_statement(_base_url()), media_type=FHIR_JSON, headers={**PUBLIC_HEADERS, "Vary": "Accept"}))


@blueprint.get("/fhir/.well-known/smart-configuration")
def smart_configuration() -> Response:
    """The SMART configuration: JSON, whatever Accept says."""
    return render(Static(smart_document(_base_url()), headers=PUBLIC_HEADERS))


@blueprint.get("/.well-known/oauth-authorization-server")
def authorization_server() -> Response:
    """The authorization server's metadata."""
    return render(Static(authorization_server_document(_base_url()), headers=PUBLIC_HEADERS))


def smart_document(base_url: str) -> dict[str, Any]:
    """The SMART configuration. Without OpenID Connect it has no issuer, without app launch no authorization endpoint."""
    return {
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        # the field is required and S256 its required value, though no grant here uses a code
        "code_challenge_methods_supported": ["S256"],
        **_shared(base_url),
    }


def authorization_server_document(base_url: str) -> dict[str, Any]:
    """The metadata of RFC 8414 §2. response_types_supported is required there, and nothing here has one."""
    return {"issuer": base_url, "response_types_supported": [], **_shared(base_url)}


def scopes_supported() -> list[str]:
    """Every scope that opens something: the letters of the interactions that exist, and the intake of each format."""
    resources = []
    for kind, offered in INTERACTIONS.items():
        letters = {interaction.letter for interaction in offered}
        resources.append(f"system/{kind}." + "".join(letter for letter in LETTERS if letter in letters))
    return [*resources, *(f"__gateway.intake.{name}" for name in mappings.formats())]


def _shared(base_url: str) -> dict[str, Any]:
    return {
        "token_endpoint": base_url + TOKEN_PATH,
        "jwks_uri": f"{base_url}/oauth/jwks",
        "grant_types_supported": [GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": scopes_supported(),
    }


@cache
def _statement(base_url: str) -> bytes:
    return to_json(statement_of(f"{base_url}/fhir", version(DISTRIBUTION)))


def _base_url() -> str:
    found: str = current_app.extensions["gateway"].settings.base_url
    return found
