"""The gateway's own keys: what it signs with, and one secret that never leaves it.

The folder is made at first start, rights 0700 and 0600, whole or not at all, also when two processes start at once. After
that a file that is missing, broken or readable by others stops the start and is named: a new key made in silence would
cut every peer off, and make every keyed hash of before worthless.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

SIGNING_FILE: Final = "signing.json"
CUT_FILE: Final = "cut.key"
RING_FILE: Final = "ring.json"
"""Written last: with it the ring is whole, and from then on no file is ever made anew."""

ALGORITHM: Final = "ES384"
CURVE: Final = "P-384"
SECRET_BYTES: Final = 32
ASSERTION_SECONDS: Final = 240
"""SMART 2.2 allows five minutes; a minute is left for clocks that differ."""

STATUSES: Final = frozenset({"next", "current", "retired"})


class KeyRingBroken(Exception):
    """The key folder cannot be used; the message names the file and what is wrong with it, never its content."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One ES384 key. status: "next" is published but not yet used, "retired" only verifies what is still out."""

    kid: str
    status: str
    jwk: ECKey = field(repr=False)


class KeyRing:
    """The keys of one gateway, read once from their folder.

    cut_key: HMAC key for what was cut out of messages. 32 bytes.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read the ring, or make it if this is the first start. Raises KeyRingBroken."""
        self.folder = Path(folder)
        try:
            if not (self.folder / RING_FILE).exists():
                _make(self.folder)
            self._signing = _read_signing(self.folder / SIGNING_FILE)
            self.cut_key = _read_secret(self.folder / CUT_FILE)
        except OSError as error:
            raise KeyRingBroken(f"{error.filename or self.folder}: {error.strerror}") from error
        self._current = next(key for key in self._signing if key.status == "current")

    def __repr__(self) -> str:
        return f"KeyRing({str(self.folder)!r})"

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the key in use."""
        return self._current.kid

    @property
    def private_key(self) -> EllipticCurvePrivateKey:
        """The P-384 key in use, for signatures other than JWS."""
        key = self._current.jwk.private_key
        if key is None:
            raise KeyRingBroken(f"{self.folder / SIGNING_FILE}: the current key has no private part")
        return key

    def public_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """What GET /oauth/jwks answers: the public part of every key, the next and the retired ones included."""
        return {
            "keys": [
                {**key.jwk.as_dict(private=False), "kid": key.kid, "use": "sig", "alg": ALGORITHM, "key_ops": ["verify"]}
                for key in self._signing
            ]
        }

    def sign_assertion(self, client_id: str, audience: str) -> str:
        """A client assertion for somebody's token endpoint, good for one use and four minutes.

        client_id: who the gateway is at that endpoint. audience: the token endpoint's URL.
        Source: RFC 7523 §3, SMART App Launch 2.2 client-confidential-asymmetric.
        """
        now = int(time.time())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": secrets.token_urlsafe(32),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        header = {"alg": ALGORITHM, "kid": self.kid, "typ": "JWT"}
        return jwt.encode(header, claims, self._current.jwk, algorithms=[ALGORITHM])


def _make(folder: Path) -> None:
    """Make what is missing; whoever comes second finds the ring whole."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        if (folder / RING_FILE).exists():
            return
        folder.chmod(0o700)
        # files of a start that was cut off are kept: nobody has seen them change
        if not (folder / CUT_FILE).exists():
            _write(folder / CUT_FILE, base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")
        if not (folder / SIGNING_FILE).exists():
            key = ECKey.generate_key(CURVE, private=True)
            content = {"keys": [{"status": "current", "jwk": {**key.as_dict(private=True), "kid": key.thumbprint()}}]}
            _write(folder / SIGNING_FILE, json.dumps(content, indent=2).encode() + b"\n")
        _write(folder / RING_FILE, b'{"version": 1}\n')


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or none: under another name first, on the disk before it gets its own."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise KeyRingBroken(f"{path}: missing. Restore it from a backup; it is never made anew beside other keys")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise KeyRingBroken(f"{path}: rights {mode:04o} let others in. Set 0600")
    return path.read_bytes()


def _read_secret(path: Path) -> bytes:
    try:
        value = base64.b64decode(_read(path).strip(), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != SECRET_BYTES:
        raise KeyRingBroken(f"{path}: not {SECRET_BYTES} bytes in base64")
    return value


def _read_signing(path: Path) -> tuple[SigningKey, ...]:
    content = _read(path)
    try:
        keys = tuple(_signing_key(entry) for entry in json.loads(content)["keys"])
    except (ValueError, KeyError, TypeError, AttributeError, JoseError):
        # the parser's own words may quote the key: they go no further
        raise KeyRingBroken(f"{path}: not a list of P-384 keys with status and private JWK") from None
    if sum(key.status == "current" for key in keys) != 1:
        raise KeyRingBroken(f"{path}: exactly one key must have the status current")
    return keys


def _signing_key(entry: dict[str, Any]) -> SigningKey:
    jwk = ECKey.import_key(entry["jwk"])
    if entry["status"] not in STATUSES or jwk.curve_name != CURVE or not jwk.is_private:
        raise ValueError("status, curve or private part")
    return SigningKey(kid=jwk.thumbprint(), status=entry["status"], jwk=jwk)
