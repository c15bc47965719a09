"""`POST /oauth/token` and `GET /oauth/jwks`: parse the HTTP, call one function, render the one answer.

Here stands what RFC 6749 says of the request itself: one form, nothing in the query, nothing twice, one way to authenticate.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import parse_qsl

from flask import Blueprint, Response, current_app, request

from gateway.access.disclosed import Static
from gateway.errors import OAuthFailure
from gateway.oauth.tokens import TokenDesk, issue_token
from gateway.services import Services
from gateway.store.security_log import count_unknown_caller
from gateway.web.outcomes import render

FORM: Final = "application/x-www-form-urlencoded"
MAX_BYTES: Final = 32 * 1024
MAX_PARAMETERS: Final = 32
JWKS_SECONDS: Final = 300
"""How long peers may keep our keys: a new key is published as "next" well before it is used."""

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
blueprint = Blueprint("oauth", __name__)


@blueprint.post("/oauth/token")
def token() -> Response:
    """Give an access token to a client that proves itself."""
    services = _services()
    form = _form()
    _require_one_authentication(form)
    desk = TokenDesk(services.database, services.key_sets, services.settings.base_url)
    return render(Static(issue_token(desk, form, now=time.time()), headers=NO_STORE))


@blueprint.get("/oauth/jwks")
def jwks() -> Response:
    """The public keys the gateway signs with."""
    headers = {"Cache-Control": f"public, max-age={JWKS_SECONDS}"}
    return render(Static(_services().keys.public_jwks(), headers=headers))


def _services() -> Services:
    found: Services = current_app.extensions["gateway"]
    return found


def _form() -> dict[str, str]:
    """The parameters of the request, each once; empty ones count as not sent (RFC 6749 §3.2). Raises OAuthFailure."""
    if request.mimetype != FORM:
        raise _invalid(f"The body must be {FORM}.")
    if request.query_string:
        raise _invalid("No parameter is read from the query; send all of them in the body.")
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise _invalid("The body is larger than the limit.")
    body = request.stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise _invalid("The body is larger than the limit.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise _invalid("The body is not a form in UTF-8, or has too many parameters.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _invalid("A parameter is sent more than once.")
    return {name: value for name, value in form.items() if value}


def _require_one_authentication(form: dict[str, str]) -> None:
    """Refuse every way to authenticate but the assertion (RFC 6749 §2.3: one method in a request)."""
    others = "Authorization" in request.headers or "client_secret" in form
    if not others:
        return
    if "client_assertion" in form:
        raise _invalid("More than one way to authenticate is used; send the client_assertion alone.")
    count_unknown_caller("not-an-assertion")
    raise OAuthFailure("invalid_client", "Clients authenticate with a client_assertion (private_key_jwt) only.", 401)


def _invalid(description: str) -> OAuthFailure:
    count_unknown_caller("invalid-request")
    return OAuthFailure("invalid_request", description)
