"""If-Match and entity tags as FHIR uses them: weak tags of version ids. Source: FHIR R4 http, 3.1.0.5; RFC 9110 §13.1.1."""

from __future__ import annotations

import re
from typing import Final

from gateway.errors import Malformed, PreconditionMissing, VersionConflict

_TAG: Final = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"')


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'W/"{version}"'


def require_match(if_match: str | None, version: int) -> None:
    """Refuse a write that does not name the current version.

    if_match: the header as sent. FHIR makes the tags weak, yet means them here, so weak and strong are compared alike.
    Raises PreconditionMissing without the header (or with "*", which names none), Malformed for what is no tag, VersionConflict.
    """
    if if_match is None or not if_match.strip() or if_match.strip() == "*":
        raise PreconditionMissing
    named = []
    for part in if_match.split(","):
        match = _TAG.fullmatch(part.strip())
        if match is None:
            raise Malformed('If-Match is written as W/"<versionId>".')
        named.append(match[1])
    if str(version) not in named:
        raise VersionConflict
