"""Failures in the words of the domain; HTTP is unknown here (web/outcomes.py holds the table to statuses).

A failure carries only what its own caller may read: issues without values, never another party's data.
"""

from __future__ import annotations

from collections.abc import Iterable

from profiles.issues import Issue


class Failure(Exception):
    """The root of everything a door may answer with instead of a result."""

    code = "exception"
    text = "The request failed."

    def __init__(self, issues: Iterable[Issue] | str | None = None) -> None:
        if issues is None:
            issues = self.text
        if isinstance(issues, str):
            issues = (Issue("error", self.code, issues),)
        self.issues: tuple[Issue, ...] = tuple(issues)
        super().__init__(type(self).__name__)


class Malformed(Failure):
    """The body is not JSON, or not the resource it claims to be."""

    code, text = "structure", "The body could not be read."


class Invalid(Failure):
    """A rule of the message or profile is broken: one issue a fault."""

    code, text = "value", "The content breaks a rule."


class Unauthenticated(Failure):
    """No token, or one that is unknown or past its time."""

    code, text = "login", "A valid access token is needed."

    def __init__(self, *, expired: bool = False, presented: bool = False) -> None:
        self.presented = presented
        super().__init__((Issue("error", "expired", "The access token is past its time."),) if expired else None)


class Forbidden(Failure):
    """The scope or the registration does not cover the interaction (decided by type, never by instance)."""

    code, text = "forbidden", "The access token does not cover this."


class NotFound(Failure):
    """Unknown here, or not theirs to know of: the two are never told apart."""

    code, text = "not-found", "Nothing is known under this address."


class Gone(Failure):
    """Deleted, said only to those who could read it."""

    code, text = "deleted", "The resource was deleted."


class VersionConflict(Failure):
    """If-Match names another version than the current one."""

    code, text = "conflict", "The resource has changed since the version named in If-Match; read it again."


class PreconditionMissing(Failure):
    """If-Match is needed and was not sent."""

    code, text = "required", "If-Match with the version last read is needed."


class DuplicateKey(Failure):
    """The same request key and version came with other content."""

    code, text = "duplicate", "This request number and revision were already sent with other content."


class IllegalTransition(Failure):
    """A Task move the workflow does not have."""

    code, text = "business-rule", "The workflow has no such move."

    def __init__(self, old: str, new: str, legal: Iterable[str]) -> None:
        self.legal = tuple(sorted(legal))
        allowed = ", ".join(self.legal) or "none: this status is final"
        super().__init__(
            (Issue("error", self.code, f"The workflow has no move from {old} to {new}. Legal next statuses: {allowed}.", ("Task.status",)),)
        )


class MethodNotOffered(Failure):
    """The address exists, the method does not."""

    code, text = "not-supported", "This interaction is not offered here."


class NotAcceptable(Failure):
    """No representation the caller accepts."""

    code, text = "not-supported", "Only JSON is offered."


class UnsupportedMedia(Failure):
    """The body's media type is not read here."""

    code, text = "not-supported", "The body's media type is not read here."


class TooLarge(Failure):
    """The body is longer than the limit."""

    code, text = "too-long", "The body is larger than the limit."


class TooCostly(Failure):
    """The body is deeper, or has more parts, than the limit."""

    code, text = "too-costly", "The body is nested too deeply or has too many parts."


class Throttled(Failure):
    """Too many requests from this caller."""

    code, text = "throttled", "Too many requests; try again later."

    def __init__(self, retry_after_seconds: int = 1) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__()


class Unavailable(Failure):
    """The store or a key set is out of reach: nothing was kept, try again."""

    code, text = "transient", "The service cannot answer now; nothing was kept. Try again."

    def __init__(self, retry_after_seconds: int = 2) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__()


class OAuthFailure(Failure):
    """A refusal of the token endpoint, answered in the form of RFC 6749 §5.2.

    error: a code of RFC 6749 §5.2. status: 400 or 401.
    """

    code = "security"

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        self.error, self.description, self.status = error, description, status
        super().__init__(description)
