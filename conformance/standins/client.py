"""A SMART Backend Services client: discovery, signed assertion, token, call. Used by the stand-ins and by the checks.

It keeps its token in memory until shortly before it ends and shows every step, so that a check can send what is wrong on
purpose. Source: SMART App Launch 2.2, backend-services and client-confidential-asymmetric.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from joserfc import jwt

from conformance.exchange import Exchange, Http
from conformance.keys import Key, algorithm_of
from profiles.strict_json import JsonFault

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS: Final = 240
TOKEN_MARGIN_SECONDS: Final = 30
FHIR_JSON: Final = "application/fhir+json"


class NoToken(Exception):
    """The peer gave no token; the text says at which step."""


@dataclass(slots=True)
class SmartClient:
    """One registered client of one server. base_url: of the server, without /fhir. keys: private; the first one signs."""

    base_url: str
    client_id: str
    keys: Sequence[Key]
    scope: str
    http: Http
    _endpoint: str | None = None
    _token: tuple[float, str] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def discover(self) -> str:
        """The token endpoint named by the server's SMART configuration; asked once. Raises NoToken."""
        with self._lock:
            if self._endpoint is None:
                found = self.http.send(
                    "GET", f"{self.base_url}/fhir/.well-known/smart-configuration", headers={"Accept": "application/json"}
                )
                endpoint = _member(found, "token_endpoint") if found.status == 200 else None
                if endpoint is None:
                    raise NoToken(f"SMART configuration names no token_endpoint (status {found.status})")
                self._endpoint = endpoint
            return self._endpoint

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of an assertion; `changes` replace some, None removes one."""
        now = int(time.time())
        made = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.discover(),
            "exp": now + ASSERTION_SECONDS,
            "iat": now,
            "jti": str(uuid4()),
            **changes,
        }
        return {name: value for name, value in made.items() if value is not None}

    def assertion(self, key: Key | None = None, *, kid: str | None = None, **changes: Any) -> str:
        """A signed assertion. key: another one than the client's first. kid: said in the header instead of the key's own."""
        signer = key or self.keys[0]
        header = {"alg": algorithm_of(signer), "kid": kid or str(signer.kid), "typ": "JWT"}
        return jwt.encode(header, self.claims(**changes), signer, algorithms=[header["alg"]])

    def ask_token(self, assertion: str | None = None, **form: str | None) -> Exchange:
        """One token request; `form` replaces parameters, None removes one."""
        content = {
            "grant_type": "client_credentials",
            "scope": self.scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            **form,
        }
        body = urlencode({name: value for name, value in content.items() if value is not None})
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return self.http.send("POST", self.discover(), headers=headers, body=body.encode())

    def token(self) -> str:
        """A token that still lasts a while. Raises NoToken."""
        with self._lock:
            if self._token is not None and self._token[0] > time.monotonic():
                return self._token[1]
            answer = self.ask_token()
            value = _member(answer, "access_token") if answer.status == 200 else None
            if value is None:
                raise NoToken(
                    f"the token endpoint answered {answer.status} to client {self.client_id}: {_member(answer, 'error') or 'no error code'}"
                )
            seconds = _seconds(answer)
            self._token = (time.monotonic() + max(1.0, seconds - min(TOKEN_MARGIN_SECONDS, seconds / 2)), value)
            return value

    def forget_token(self) -> None:
        """Ask for a new token at the next call."""
        with self._lock:
            self._token = None

    def call(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Exchange:
        """One call with the token, to a path of the server or an absolute URL below it; says what came, whatever it is."""
        url = path if path.startswith(f"{self.base_url}/") else f"{self.base_url}/{path.lstrip('/')}"
        sent = {"Authorization": f"Bearer {self.token()}", "Accept": f"{FHIR_JSON}, application/json", **(headers or {})}
        return self.http.send(method, url, headers=sent, body=body)

    def call_again(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Exchange:
        """As `call`, but a token the server no longer takes is replaced once."""
        answer = self.call(method, path, body=body, headers=headers)
        if answer.status == 401:
            self.forget_token()
            answer = self.call(method, path, body=body, headers=headers)
        return answer


def _member(answer: Exchange, name: str) -> str | None:
    try:
        document = answer.json()
    except JsonFault:
        return None
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value else None


def _seconds(answer: Exchange) -> float:
    document = answer.json()
    value = document.get("expires_in", 60)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else 60.0
