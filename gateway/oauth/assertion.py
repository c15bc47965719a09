"""Who signed this: the checks of a client assertion, in the order cheap → costly, each refusing for one reason.

Pure but for the two look-ups it is handed. What the caller is told names the failing check, except that an unknown client, a
suspended one, a foreign key and a bad signature get one text: a stranger learns nothing of who is registered. Knows no scope and
no database: the `jti` is only read here, and used up where the token is written (tokens.py).
Source: SMART App Launch 2.2 client-confidential-asymmetric, RFC 7523 §3, draft-ietf-oauth-rfc7523bis (aud).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from gateway.oauth.jwks import PublicKey
from gateway.store.registry import Client
from profiles.strict_json import JsonFault, parse_json

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("ES384", "RS384")
KEY_TYPES: Final = {"ES384": "EC", "RS384": "RSA"}
# Many OAuth clients send no typ. Any other one was made for another use, above all at+jwt.
TYPES: Final = frozenset({None, "jwt", "client-authentication+jwt"})
LEEWAY_SECONDS: Final = 30
LONGEST_SECONDS: Final = 300
MAX_ASSERTION: Final = 16 * 1024
MAX_HEADER: Final = 8 * 1024
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 1000
MAX_JTI: Final = 256

NOT_PROVEN: Final = (
    "The client is not registered here, or the assertion is not signed with exactly one of its keys (kid, kty, jku, signature)."
)
_UNREADABLE: Final = "The client_assertion is not a signed JWT: three base64url parts, JSON objects without doubled members."
_PARTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_CLIENT_ID: Final = re.compile(r"[\x20-\x7e]{1,256}")  # RFC 6749 appendix A.1; the database takes no other either
_registry: Final = JWSRegistry(algorithms=ALGORITHMS)


class AssertionRefused(Exception):
    """The assertion proves nobody.

    reason: a word for logs. description: what the caller is told. status: 400 or 401. error: a code of RFC 6749 §5.2.
    """

    def __init__(self, reason: str, description: str, status: int = 401, error: str = "invalid_client") -> None:
        self.reason, self.description, self.status, self.error = reason, description, status, error
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Proven:
    """A client that signed an assertion now. forget_at: from when on the jti may be used again. claims: as signed."""

    client: Client
    jti: str
    forget_at: datetime
    claims: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Read:
    """An assertion as it was sent: nothing of it is proven."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def prove(
    text: str,
    *,
    client_id: str | None,
    audiences: frozenset[str],
    now: float,
    find_client: Callable[[str], Client | None],
    find_keys: Callable[[Client, str], tuple[PublicKey, ...]],
) -> Proven:
    """The client that signed an assertion. Raises AssertionRefused, and whatever the look-ups raise.

    client_id: the parameter beside the assertion, if any. audiences: what `aud` may be. now: seconds since 1970.
    find_keys: all keys of a client with a kid.
    """
    read = _read(text)
    algorithm, kid = _require_header(read.header)
    client = _require_client(read.claims, client_id, find_client)
    _require_registered_address(read.header, client)
    key = _require_one_key(find_keys(client, kid), algorithm)
    _require_signature(read, algorithm, key)
    _require_audience(read.claims, audiences)
    expires = _require_times(read.claims, now)
    jti = _require_jti(read.claims)
    return Proven(client, jti, datetime.fromtimestamp(expires + LEEWAY_SECONDS, UTC), read.claims)


def _read(text: str) -> _Read:
    found = _PARTS.fullmatch(text) if len(text) <= MAX_ASSERTION else None
    if found is None or len(found[1]) > MAX_HEADER:
        raise AssertionRefused("unreadable", _UNREADABLE, 400)
    try:
        header, claims, signature = (_decoded(part) for part in found.groups())
        return _Read(_object(header), _object(claims), f"{found[1]}.{found[2]}".encode(), signature)
    except (ValueError, JsonFault):
        raise AssertionRefused("unreadable", _UNREADABLE, 400) from None


def _object(data: bytes) -> dict[str, Any]:
    value = parse_json(data, max_depth=MAX_DEPTH, max_nodes=MAX_VALUES)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _require_header(header: dict[str, Any]) -> tuple[str, str]:
    """The algorithm and the kid. `jwk`, `x5c` and `x5u` are not read: a key is never taken from who must prove to have it."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise AssertionRefused("alg", "The header alg of the assertion must be ES384 or RS384.")
    if not isinstance(kid, str) or not kid:
        raise AssertionRefused("kid", "The header kid of the assertion must name one key.")
    if not isinstance(kind, str | None) or (kind and kind.lower()) not in TYPES:
        raise AssertionRefused("typ", "The header typ of the assertion must be JWT.")
    if "crit" in header:
        raise AssertionRefused("crit", "The header crit of the assertion names what is not understood here.")
    return algorithm, kid


def _require_client(claims: dict[str, Any], client_id: str | None, find_client: Callable[[str], Client | None]) -> Client:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or claims.get("sub") != issuer:
        raise AssertionRefused("iss-sub", "The claims iss and sub of the assertion must both be the client id.")
    if client_id not in (None, issuer):
        raise AssertionRefused("client-id", "The parameter client_id is not the iss of the assertion.", 400, "invalid_request")
    client = find_client(issuer) if _CLIENT_ID.fullmatch(issuer) else None
    if client is None or client.suspended:
        raise AssertionRefused("client", NOT_PROVEN)
    return client


def _require_registered_address(header: dict[str, Any], client: Client) -> None:
    if "jku" in header and (client.jwks_url is None or header["jku"] != client.jwks_url):
        raise AssertionRefused("jku", NOT_PROVEN)


def _require_one_key(keys: tuple[PublicKey, ...], algorithm: str) -> PublicKey:
    # the library would take the first of two keys with one kid
    matching = [key for key in keys if key.kty == KEY_TYPES[algorithm]]
    if len(matching) != 1 or not matching[0].verifies(algorithm):
        raise AssertionRefused("key", NOT_PROVEN)
    return matching[0]


def _require_signature(read: _Read, algorithm: str, key: PublicKey) -> None:
    try:
        model = _registry.get_alg(algorithm)
        model.check_key(key.jwk)
        verified = model.verify(read.signed, read.signature, key.jwk)
    except (JoseError, ValueError):
        verified = False
    if not verified:
        raise AssertionRefused("signature", NOT_PROVEN)


def _require_audience(claims: dict[str, Any], audiences: frozenset[str]) -> None:
    stated = claims.get("aud")
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    # of several audiences another one could use the assertion here
    if not isinstance(stated, str) or stated not in audiences:
        raise AssertionRefused("aud", "The claim aud of the assertion must be the token endpoint or the issuer of this server alone.")


def _require_times(claims: dict[str, Any], now: float) -> int:
    """The `exp`, in whole seconds since 1970."""
    expires = claims.get("exp")
    if not isinstance(expires, int) or isinstance(expires, bool):
        raise AssertionRefused("exp", "The claim exp of the assertion must be a whole number of seconds.")
    if expires <= now - LEEWAY_SECONDS:
        raise AssertionRefused("exp", "The assertion is past its exp.")
    if expires > now + LONGEST_SECONDS + LEEWAY_SECONDS:
        raise AssertionRefused("exp", "The claim exp of the assertion must be at most five minutes ahead.")
    for name in ("nbf", "iat"):
        from_when = claims.get(name, 0)
        if isinstance(from_when, bool) or not isinstance(from_when, int | Decimal) or from_when > now + LEEWAY_SECONDS:
            raise AssertionRefused(name, f"The claim {name} of the assertion must be a number of seconds that is not ahead.")
    return expires


def _require_jti(claims: dict[str, Any]) -> str:
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise AssertionRefused("jti", f"The claim jti of the assertion must be a text of 1 to {MAX_JTI} characters.")
    return jti
