"""The stand-in EHR's token endpoint: takes the gateway's private_key_jwt only if it is good in every respect.

A stand-in that took anything would prove nothing about the gateway as a client. Source: SMART App Launch 2.2,
client-confidential-asymmetric; RFC 7523 §3; RFC 6749 §5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError

from conformance.standins.client import ASSERTION_TYPE
from conformance.standins.gateway_keys import GatewayKeys
from profiles.strict_json import JsonFault, parse_json

TOKEN_SECONDS: Final = 300
FARTHEST_SECONDS: Final = 300
LEEWAY_SECONDS: Final = 30


class Refused(Exception):
    """The token request fails. error: code of RFC 6749 §5.2; the text names the check."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        self.error, self.description, self.status = error, description, status
        super().__init__(description)


class TokenDesk:
    """Tokens of one stand-in. url: its token endpoint, which an assertion must name as audience."""

    def __init__(self, url: str, keys: GatewayKeys) -> None:
        self.url = url
        self.keys = keys
        self._tokens: dict[str, float] = {}
        self._seen: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def issue(self, form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The answer to a token request. form: each parameter's values. Raises Refused."""
        doubled = [name for name, values in form.items() if len(values) != 1]
        if doubled:
            raise Refused("invalid_request", "a parameter was sent twice")
        sent = {name: values[0] for name, values in form.items()}
        if sent.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type", "only client_credentials")
        if not sent.get("scope"):
            raise Refused("invalid_scope", "scope is required")
        if sent.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused("invalid_client", "client_assertion_type", 401)
        client = self._require_client(sent.get("client_assertion", ""))
        if sent.get("client_id", client) != client:
            raise Refused("invalid_request", "client_id is not the assertion's subject")
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[_digest(token)] = time.monotonic() + TOKEN_SECONDS
        return {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS, "scope": sent["scope"]}

    def knows(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a token of this desk that still lasts."""
        scheme, _, token = (authorization or "").partition(" ")
        with self._lock:
            return scheme.lower() == "bearer" and self._tokens.get(_digest(token), 0.0) > time.monotonic()

    def forget_tokens(self) -> None:
        """End every token at once."""
        with self._lock:
            self._tokens.clear()

    def _require_client(self, assertion: str) -> str:
        header = _header(assertion)
        if header.get("alg") != "ES384":
            raise Refused("invalid_client", "alg must be ES384", 401)
        key = self.keys.find(str(header.get("kid", "")))
        if key is None:
            raise Refused("invalid_client", "no key of that kid in the gateway's JWK Set", 401)
        try:
            claims = jwt.decode(assertion, key, algorithms=["ES384"]).claims
        except (JoseError, ValueError):
            raise Refused("invalid_client", "signature", 401) from None
        self._require_claims(claims)
        return str(claims["sub"])

    def _require_claims(self, claims: Mapping[str, Any]) -> None:
        issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
        if not isinstance(issuer, str) or not issuer or issuer != subject:
            raise Refused("invalid_client", "iss and sub must be the one client id", 401)
        if audience not in (self.url, [self.url]):
            raise Refused("invalid_client", "aud is not this token endpoint", 401)
        now, expires = time.time(), claims.get("exp")
        if isinstance(expires, bool) or not isinstance(expires, int):
            raise Refused("invalid_client", "exp", 401)
        if not now - LEEWAY_SECONDS < expires <= now + FARTHEST_SECONDS + LEEWAY_SECONDS:
            raise Refused("invalid_client", "exp is past or more than five minutes ahead", 401)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not jti:
            raise Refused("invalid_client", "jti", 401)
        with self._lock:
            self._seen = {key: until for key, until in self._seen.items() if until > now}
            if (issuer, jti) in self._seen:
                raise Refused("invalid_client", "jti was used before", 401)
            self._seen[issuer, jti] = expires + LEEWAY_SECONDS


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _header(assertion: str) -> dict[str, Any]:
    first = assertion.partition(".")[0]
    try:
        header = parse_json(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)), max_depth=8)
    except (binascii.Error, ValueError, JsonFault):
        raise Refused("invalid_client", "not a JWT", 401) from None
    if not isinstance(header, dict):
        raise Refused("invalid_client", "not a JWT", 401)
    return header
