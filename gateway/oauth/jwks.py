"""Public keys of clients: what may be registered, and which keys of a set may verify a signature.

At registration a fault is refused and named; a set read later by its address may have changed, so there what is not fit is left
out key by key. Fetches nothing (see key_sets.py).
Source: SMART App Launch 2.2, client-confidential-asymmetric; RFC 7517, RFC 7518 §6.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from profiles.strict_json import canonical_json

MAX_KEYS: Final = 20
MAX_BYTES: Final = 64 * 1024
MAX_KID: Final = 256
SMALLEST_RSA: Final = 2048
LARGEST_RSA: Final = 8192  # more makes every verification slow and nobody safer
LARGEST_EXPONENT: Final = 2**32
CURVES: Final = frozenset({"P-256", "P-384"})
PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_VALUES: Final = {"EC": ("x", "y"), "RSA": ("n", "e")}
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,2800}")


class KeysRefused(ValueError):
    """A JWK set that may not be registered. place: such as "keys[2].crv", "" for the whole. The message holds no key material."""

    def __init__(self, text: str, place: str = "") -> None:
        self.place = place
        super().__init__(f"{place}: {text}" if place else text)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may verify signatures of one client. algorithm: the one it is limited to, where it says so."""

    kid: str
    kty: str
    algorithm: str | None
    jwk: ECKey | RSAKey = field(repr=False)

    def verifies(self, algorithm: str) -> bool:
        """Whether a signature of this algorithm can be one of this key."""
        if self.algorithm not in (None, algorithm):
            return False
        if isinstance(self.jwk, ECKey):
            return (algorithm, self.jwk.curve_name) == ("ES384", "P-384")
        return algorithm == "RS384"


def require_public_keys(document: Any) -> dict[str, Any]:
    """The JWK set as it may be registered. Raises KeysRefused, naming the place of the first fault."""
    entries = _require_entries(document)
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        place = f"keys[{index}]"
        key = _require_key(entry, place)
        if key.kid in seen:
            raise KeysRefused("another key of the set has the same kid", f"{place}.kid")
        seen.add(key.kid)
    return dict(document)


def usable_keys(document: Any) -> tuple[PublicKey, ...]:
    """The keys of a set that may verify; those that are no keys, weak, private or meant for something else are left out.

    Raises KeysRefused when it is no JWK set at all, or too large.
    """
    made = []
    for entry in _require_entries(document):
        try:
            key = _require_key(entry, "")
        except KeysRefused:
            continue
        operations = entry.get("key_ops", ["verify"])
        if entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations:
            made.append(key)
    return tuple(made)


def _require_entries(document: Any) -> list[Any]:
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysRefused("not a JWK set: an object with an array keys is expected (RFC 7517 §5)")
    if not 1 <= len(entries) <= MAX_KEYS:
        raise KeysRefused(f"has {len(entries)} keys; 1 to {MAX_KEYS} are taken", "keys")
    if len(canonical_json(document)) > MAX_BYTES:
        raise KeysRefused(f"the JWK set is longer than {MAX_BYTES} bytes")
    return entries


def _require_key(entry: Any, place: str) -> PublicKey:
    if not isinstance(entry, dict):
        raise KeysRefused("is not an object", place)
    private = sorted(PRIVATE_MEMBERS & entry.keys())
    if private:
        raise KeysRefused("is private: that key is known to others now, make a new one and send its public part", f"{place}.{private[0]}")
    kid, kty, algorithm = entry.get("kid"), entry.get("kty"), entry.get("alg")
    if kty not in ("EC", "RSA"):
        raise KeysRefused("must be EC or RSA", f"{place}.kty")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise KeysRefused(f"must be a text of 1 to {MAX_KID} characters", f"{place}.kid")
    if not isinstance(algorithm, str | None):
        raise KeysRefused("must be a text", f"{place}.alg")
    if kty == "EC" and (not isinstance(entry.get("crv"), str) or entry["crv"] not in CURVES):
        raise KeysRefused("must be P-384 or P-256", f"{place}.crv")
    for name in _VALUES[kty]:
        if not isinstance(entry.get(name), str) or not _BASE64URL.fullmatch(entry[name]):
            raise KeysRefused("must be base64url", f"{place}.{name}")
    return PublicKey(kid, kty, algorithm, _imported(entry, kty, place))


def _imported(entry: dict[str, Any], kty: str, place: str) -> ECKey | RSAKey:
    """The key of the bare values: what else stands in the entry is none of the library's business."""
    bare = {name: entry[name] for name in ("kty", "crv", *_VALUES[kty]) if name in entry and (name != "crv" or kty == "EC")}
    try:
        if kty == "EC":
            return ECKey.import_key(bare)
        # before the import, which takes a short key and only warns
        _require_size(_number(bare["n"]), _number(bare["e"]), place)
        return RSAKey.import_key(bare)
    except KeysRefused:
        raise
    except (JoseError, ValueError, TypeError):
        raise KeysRefused("is no valid public key", place) from None


def _require_size(modulus: int, exponent: int, place: str) -> None:
    if not SMALLEST_RSA <= modulus.bit_length() <= LARGEST_RSA:
        raise KeysRefused(f"has {modulus.bit_length()} bits; {SMALLEST_RSA} to {LARGEST_RSA} are taken", f"{place}.n")
    if exponent > LARGEST_EXPONENT:
        raise KeysRefused("is larger than any exponent in use", f"{place}.e")


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
