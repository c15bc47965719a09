"""Reading a request's body: bounded, of a media type that is offered, in UTF-8 and not encoded. Anything else is refused unread."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from flask import request

from gateway.errors import TooLarge, UnsupportedMedia

NOT_IDENTITY: Final = "The body is read as it is, without Content-Encoding."
NOT_UTF_8: Final = "The body's charset is not read here; JSON is UTF-8 (RFC 8259, section 8.1)."


def require_readable(media_types: Set[str]) -> None:
    """Refuse a body of another media type, charset or content encoding. Raises UnsupportedMedia."""
    if request.mimetype not in media_types:
        raise UnsupportedMedia
    if request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMedia(NOT_UTF_8)
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMedia(NOT_IDENTITY)


def bounded_body(limit: int, media_types: Set[str]) -> bytes:
    """The request's body, refused unread when it is too long or not readable. limit: bytes. Raises TooLarge, UnsupportedMedia."""
    require_readable(media_types)
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge
    body = request.stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge
    return body
