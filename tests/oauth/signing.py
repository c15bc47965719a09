"""Assertions as a test wants them, also such as no library would sign."""

from __future__ import annotations

import base64
import json
import time
from uuid import uuid4

from joserfc.jws import JWSRegistry

from tests.world import BASE

TOKEN_URL = f"{BASE}/oauth/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def claims_of(client, **changes):
    """Good claims of a client but for the changes; None leaves one out."""
    now = int(time.time())
    claims = {"iss": client, "sub": client, "aud": TOKEN_URL, "exp": now + 200, "iat": now, "jti": str(uuid4()), **changes}
    return {name: value for name, value in claims.items() if value is not None}


def sign(key, claims, *, header=None, algorithm="ES384"):
    """A JWT of claims (a dict, or the very bytes), with members of the header changed; None leaves one out, bytes are the whole header."""
    if not isinstance(header, bytes):
        members = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}
        header = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{part(header)}.{part(body)}"
    signature = JWSRegistry.algorithms[algorithm].sign(signed.encode(), key)
    return f"{signed}.{part(signature)}"


def part(data):
    """One part of a JWT."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def ask(actor, assertion, **form):
    """Ask for a token with an assertion of one's own making."""
    return actor.ask_token(client_assertion=assertion, **form)
