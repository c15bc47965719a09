"""The one place where a `Disclosed` is made. Called by the other modules of `gateway.access.records` alone."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from gateway.access.disclosed import _SEAL, Disclosed
from gateway.store.resources import Stored


def disclosed(kind: str, body: bytes | dict[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Disclosed:
    """Seal something that was decided and audited."""
    return Disclosed(kind, body, _SEAL, status, dict(headers or {}))


def version_headers(stored: Stored) -> dict[str, str]:
    """ETag and Last-Modified of a version (FHIR R4 http, 3.1.0.4)."""
    return {
        "ETag": f'W/"{stored.version}"',
        "Last-Modified": format_datetime(stored.last_updated.replace(microsecond=0), usegmt=True),
    }
