"""Access tokens: given to a client that proves itself, and read back as the caller of a request.

A token is good for 300 seconds, one purpose and at most the registered scopes. It is opaque: everything it stands for is read from
the database at each use, as registered at that moment, so that a suspended client or a narrowed registration is so at once.
Source: RFC 6749 §4.4, §5; SMART App Launch 2.2 backend-services.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from gateway.errors import OAuthFailure, Unauthenticated
from gateway.oauth.assertion import ASSERTION_TYPE, AssertionRefused, Proven, prove
from gateway.oauth.context import Caller
from gateway.oauth.key_sets import KeySets
from gateway.oauth.purpose import bind_purpose
from gateway.oauth.scopes import ScopeMalformed, Scopes, parse_scopes
from gateway.store.database import Database, Unit
from gateway.store.ids import new_secret
from gateway.store.registry import Client, client_of
from gateway.store.security_log import count_unknown_caller
from gateway.store.tokens import NewToken, find_token, insert_token, is_used, use_assertion

log = structlog.get_logger(__name__)

TOKEN_SECONDS: Final = 300
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 (an address)
GRANT_TYPE: Final = "client_credentials"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # what new_secret makes


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """What the token endpoint works with. base_url: of the gateway, which is also the issuer."""

    database: Database
    key_sets: KeySets
    base_url: str

    @property
    def audiences(self) -> frozenset[str]:
        """What the `aud` of an assertion may be: SMART says the token endpoint, rfc7523bis the issuer."""
        return frozenset({self.base_url + TOKEN_PATH, self.base_url})


def issue_token(desk: TokenDesk, form: Mapping[str, str], *, now: float) -> dict[str, Any]:
    """Answer a token request with the members of RFC 6749 §5.1. Raises OAuthFailure, Unavailable.

    form: the parameters, each once. now: seconds since 1970. The assertion is used up in the transaction that keeps the token: one
    that was refused for its scope or purpose, or met a database that failed, gave no token and may be sent again until its exp.
    Nothing is written for a refusal.
    """
    _require_grant(form)
    proven = _require_client(desk, form, now)
    scopes = _grant(form.get("scope"), proven.client.scopes)
    purpose = bind_purpose(proven.claims, proven.client.purposes)
    token = new_secret()
    new = NewToken(
        token=token,
        token_id=secrets.token_hex(8),
        client=proven.client.id,
        organization=proven.client.organization,
        scopes=str(scopes),
        purpose=purpose,
        lifetime=timedelta(seconds=TOKEN_SECONDS),
    )
    _require_first_use(desk.database, proven, new, datetime.fromtimestamp(now, UTC))
    log.info("token issued", client=new.client, token_id=new.token_id, purpose=purpose, scopes=new.scopes)
    return {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS, "scope": str(scopes)}


def authenticate(database: Database, token: str, request_id: str) -> Caller:
    """The caller who holds a token: one read. Raises Unauthenticated, Unavailable.

    Registration, posture and suspension are those of now. Scopes are cut down to what is registered now; a token whose client
    moved to another organisation, or lost the purpose it is bound to, is dead.
    """
    if not _TOKEN.fullmatch(token):
        raise Unauthenticated(presented=True)
    with database.read() as unit:
        found = find_token(unit, token)
    if found is None or found.suspended:
        raise Unauthenticated(presented=True)
    if found.registered_organization != found.organization or found.purpose not in found.registered_purposes:
        raise Unauthenticated(presented=True)
    if found.is_expired:
        raise Unauthenticated(expired=True, presented=True)
    return Caller(
        client_id=found.client,
        organization=found.organization,
        organization_name=found.organization_name,
        postures=found.postures,
        purpose=found.purpose,
        scopes=_registered(found.registered_scopes).intersect(parse_scopes(found.scopes)),
        token_id=found.token_id,
        request_id=request_id,
    )


def _require_grant(form: Mapping[str, str]) -> None:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise OAuthFailure("invalid_request", "The parameter grant_type is missing.")
    if grant_type != GRANT_TYPE:
        raise OAuthFailure("unsupported_grant_type", "Only client_credentials is offered.")


def _require_client(desk: TokenDesk, form: Mapping[str, str], now: float) -> Proven:
    """The client that proves itself. Unknown callers are counted, and cost no write."""
    try:
        return _proven(desk, form, now)
    except AssertionRefused as refused:
        count_unknown_caller(refused.reason)
        raise OAuthFailure(refused.error, refused.description, refused.status) from None


def _proven(desk: TokenDesk, form: Mapping[str, str], now: float) -> Proven:
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise AssertionRefused("assertion-type", "The parameter client_assertion_type must be that of a JWT bearer assertion.", 400)
    if "client_assertion" not in form:
        raise AssertionRefused("no-assertion", "The parameter client_assertion is missing.", 400)

    def find_client(client_id: str) -> Client | None:
        with desk.database.read() as unit:
            return client_of(unit, client_id)

    proven = prove(
        form["client_assertion"],
        client_id=form.get("client_id"),
        audiences=desk.audiences,
        now=now,
        find_client=find_client,
        find_keys=desk.key_sets.keys_with,
    )
    # whoever holds an old assertion and sends it a thousand times takes no write section
    with desk.database.read() as unit:
        if is_used(unit, proven.client.id, proven.jti, now=datetime.fromtimestamp(now, UTC)):
            raise _used()
    return proven


def _require_first_use(database: Database, proven: Proven, new: NewToken, now: datetime) -> None:
    def work(unit: Unit) -> bool:
        if not use_assertion(unit, proven.client.id, proven.jti, expires_at=proven.forget_at, now=now):
            return False
        insert_token(unit, new)
        return True

    if not database.write(work):
        refused = _used()
        count_unknown_caller(refused.reason)
        raise OAuthFailure(refused.error, refused.description, refused.status)


def _used() -> AssertionRefused:
    return AssertionRefused("replay", "The jti of the assertion was used before.")


def _grant(asked: str | None, registered: str) -> Scopes:
    """What is granted: what was asked for and is registered; all that is registered where nothing was asked for."""
    own = _registered(registered)
    try:
        granted = own if asked is None else own.intersect(parse_scopes(asked))
    except ScopeMalformed:
        raise OAuthFailure("invalid_scope", "The parameter scope is no OAuth scope.") from None
    if not granted:
        raise OAuthFailure("invalid_scope", "Nothing of the scope is registered for this client.")
    return granted


def _registered(text: str) -> Scopes:
    """Registered scopes; a registration that cannot be read grants nothing."""
    try:
        return parse_scopes(text)
    except ScopeMalformed:
        return Scopes()
