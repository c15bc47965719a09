"""The gateway's public keys as a peer sees them: fetched from /oauth/jwks, kept, and asked again for a key not yet known."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import requests
from joserfc.jwk import ECKey

from conformance.exchange import Http
from profiles.strict_json import JsonFault

KEPT_SECONDS: Final = 300.0
ASK_AGAIN_SECONDS: Final = 2.0


class GatewayKeys:
    """Keys of one gateway by kid. base_url: of the gateway. Safe between threads."""

    def __init__(self, base_url: str, http: Http) -> None:
        self.url = f"{base_url}/oauth/jwks"
        self.http = http
        self._keys: dict[str, ECKey] = {}
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str) -> ECKey | None:
        """The P-384 key of that kid, or None when the gateway publishes none."""
        with self._lock:
            age = time.monotonic() - self._asked_at
            if age > KEPT_SECONDS or (kid not in self._keys and age > ASK_AGAIN_SECONDS):
                self._asked_at = time.monotonic()
                self._keys = self._fetch()
            return self._keys.get(kid)

    def _fetch(self) -> dict[str, ECKey]:
        try:
            answer = self.http.send("GET", self.url, headers={"Accept": "application/json"})
            document = answer.json() if answer.status == 200 else {}
        except (requests.RequestException, JsonFault):
            return self._keys
        entries = document.get("keys") if isinstance(document, dict) else None
        return {entry["kid"]: ECKey.import_key(entry) for entry in entries or [] if _usable(entry)}


def _usable(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or "d" in entry:
        return False
    return entry.get("kty") == "EC" and entry.get("crv") == "P-384" and entry.get("use", "sig") == "sig"
