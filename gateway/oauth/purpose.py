"""What a token is for: one purpose of use, taken from the `hl7-b2b` extension of an assertion or from the registration.

A purpose is bound to the token, never to a request: another purpose needs another token. Of `hl7-b2b` nothing else is read; who
the client speaks for is what is registered, whatever it states.
Source: HL7 FAST Security (UDAP) B2B authorization extension object; DESIGN §5 on purposes.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.errors import OAuthFailure

EXTENSION: Final = "hl7-b2b"
VERSION: Final = "1"
MAX_CODES: Final = 20
_SYSTEMS: Final = frozenset({"urn:oid:2.16.840.1.113883.5.8", "http://terminology.hl7.org/CodeSystem/v3-ActReason"})
_NO_CODE: Final = ""


def bind_purpose(claims: dict[str, Any], registered: frozenset[str]) -> str:
    """The one registered purpose of a proven assertion. Raises OAuthFailure.

    claims: of the assertion. Stated codes may stand alone or as `system#code`. The client is proven by now, so the refusals are
    not invalid_client, which would send people to look at their keys: a statement we cannot honour is invalid_grant (UDAP), a
    registration that allows no token unauthorized_client.
    """
    if not registered:
        raise OAuthFailure("unauthorized_client", "The client is registered for no purpose of use; ask the operator of this gateway.")
    stated = _stated_codes(claims)
    if stated is None:
        if len(registered) == 1:
            return next(iter(registered))
        raise OAuthFailure("invalid_grant", "The client has several purposes of use: state one in extensions, hl7-b2b, purpose_of_use.")
    if len(stated) != 1 or not stated <= registered:
        raise OAuthFailure("invalid_grant", "The purpose_of_use of hl7-b2b must name exactly one purpose the client is registered for.")
    return next(iter(stated))


def _stated_codes(claims: dict[str, Any]) -> frozenset[str] | None:
    """The codes an assertion states, None where it states nothing. A code of a system we do not know stays as it is: no purpose."""
    extensions = claims.get("extensions", {})
    if not isinstance(extensions, dict):
        raise OAuthFailure("invalid_grant", "The claim extensions of the assertion must be an object.")
    if EXTENSION not in extensions:
        return None
    stated = extensions[EXTENSION]
    codes = stated.get("purpose_of_use") if isinstance(stated, dict) else None
    if not isinstance(stated, dict) or stated.get("version") != VERSION or not isinstance(codes, list) or not 0 < len(codes) <= MAX_CODES:
        raise OAuthFailure("invalid_grant", "The extension hl7-b2b must be an object with version 1 and a list purpose_of_use.")
    return frozenset(_code(code) for code in codes)


def _code(stated: Any) -> str:
    if not isinstance(stated, str):
        return _NO_CODE
    system, hash_mark, code = stated.rpartition("#")
    return code if not hash_mark or system in _SYSTEMS else stated
