"""What the stand-in RMS does with a callback: takes it only when the gateway signed exactly these bytes for this address.

Source: RFC 9421 (HTTP Message Signatures) with ecdsa-p384-sha384; RFC 9530 (Content-Digest).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from conformance.standins.gateway_keys import GatewayKeys

TAG: Final = "crisis-referral-callback"
NEEDED: Final = frozenset({'"@method"', '"@target-uri"', '"content-digest"'})
OLDEST: Final = timedelta(minutes=5)
_HASHES: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}

_DIGEST: Final = re.compile(r"(?:^|,)\s*(sha-256|sha-512)=:([A-Za-z0-9+/=]*):")


class NotSigned(Exception):
    """The callback is not proven to come from the gateway; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it was received, in the shape the verifier reads. url: as registered, never taken from the Host header."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class _Resolver(HTTPSignatureKeyResolver):
    """Public keys of the gateway, by kid."""

    def __init__(self, keys: GatewayKeys) -> None:
        self.keys = keys

    def resolve_public_key(self, key_id: str) -> Any:
        key = self.keys.find(key_id)
        if key is None:
            raise HTTPMessageSignaturesException("no key of that kid in the gateway's JWK Set")
        return key.public_key


def require_signed(received: Received, keys: GatewayKeys) -> str:
    """The kid that signed. Raises NotSigned."""
    _require_digest(received)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ECDSA_P384_SHA384, key_resolver=_Resolver(keys))
    try:
        results = verifier.verify(received, max_age=OLDEST, expect_tag=TAG)
    except HTTPMessageSignaturesException as error:
        raise NotSigned(str(error)) from None
    if not results:
        raise NotSigned("no signature")
    for result in results:
        covered = {str(name) for name in result.covered_components}
        if covered >= NEEDED:
            return str(result.parameters.get("keyid", ""))
    raise NotSigned("the signature does not cover method, target and content digest")


def _require_digest(received: Received) -> None:
    """Content-Digest must be there and fit the bytes; the signature covers the field, not the content."""
    value = received.headers.get("Content-Digest")
    if value is None:
        raise NotSigned("no Content-Digest")
    said = dict(_DIGEST.findall(value))
    if not said:
        raise NotSigned("Content-Digest has neither sha-256 nor sha-512")
    for name, text in said.items():
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise NotSigned("Content-Digest is not readable") from None
        if not hmac.compare_digest(content, _HASHES[name](received.body).digest()):
            raise NotSigned("Content-Digest does not fit the content")
