"""Keys of the parties the kit and the stand-ins act as: made once, kept beside their public half.

A private key is written readable by its owner alone. Only the two algorithms SMART names are used: ES384 and RS384.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import ECKey, RSAKey

Key = ECKey | RSAKey
RSA_BITS: Final = 2048


class KeyFault(Exception):
    """A key file cannot be used; the text names the file and what is wrong with it, never the key."""


def algorithm_of(key: Key) -> str:
    """ES384 for a P-384 key, RS384 for an RSA one."""
    return "ES384" if isinstance(key, ECKey) else "RS384"


def make_keys(folder: Path, name: str = "", *, rsa: bool = False) -> list[Key]:
    """Write `<name>.key.json` (private JWK Set) and `<name>.jwks.json` (public) where there are none yet, and read them.

    An empty name gives key.json and jwks.json. rsa: add a key for RS384.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}." if name else ""
    private, public = folder / f"{stem}key.json", folder / f"{stem}jwks.json"
    if not private.exists():
        made: list[Key] = [ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, auto_kid=True)]
        if rsa:
            made.append(RSAKey.generate_key(RSA_BITS, {"use": "sig", "alg": "RS384"}, auto_kid=True))
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"keys": [key.as_dict(private=True) for key in made]}, file)
    keys = read_keys(private)
    public.write_text(json.dumps(public_jwks(keys), indent=1), encoding="utf-8")
    return keys


def public_jwks(keys: Sequence[Key]) -> dict[str, Any]:
    """The JWK Set to register; holds no private member."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def read_keys(path: Path) -> list[Key]:
    """The private keys of a file that holds a JWK or a JWK Set. Raises KeyFault."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KeyFault(f"{path}: not readable as JSON ({type(error).__name__})") from None
    entries = document.get("keys", [document]) if isinstance(document, dict) else []
    if not isinstance(entries, list) or not entries:
        raise KeyFault(f"{path}: neither a JWK nor a JWK Set")
    return [_private_key(path, entry) for entry in entries]


def _private_key(path: Path, entry: Any) -> Key:
    kind = entry.get("kty") if isinstance(entry, dict) else None
    if kind not in ("EC", "RSA"):
        raise KeyFault(f"{path}: a key is neither EC nor RSA")
    try:
        key: Key = ECKey.import_key(entry) if kind == "EC" else RSAKey.import_key(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFault(f"{path}: not a usable key ({type(error).__name__})") from None
    if not key.is_private:
        raise KeyFault(f"{path}: a key has no private part")
    if isinstance(key, ECKey) and key.curve_name != "P-384":
        raise KeyFault(f"{path}: an EC key must be on P-384 (ES384)")
    key.ensure_kid()
    return key
