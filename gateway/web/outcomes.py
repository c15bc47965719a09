"""What leaves as HTTP: one renderer for what was disclosed, and the one table from failure to status.

Nothing here decides what may be said. A refusal to a known caller is written to the audit log before it is answered; without
that row there is no answer but 503. No answer holds a stack, a value of an element or the reason of a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from gateway.access.disclosed import Disclosed, Outcome, Static, Withheld
from gateway.audit.events import record_refusal
from gateway.errors import (
    DuplicateKey,
    Failure,
    Forbidden,
    Gone,
    IllegalTransition,
    Invalid,
    Malformed,
    MethodNotOffered,
    NotAcceptable,
    NotFound,
    OAuthFailure,
    PreconditionMissing,
    Throttled,
    TooCostly,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    VersionConflict,
)
from gateway.services import Services
from profiles.issues import operation_outcome
from profiles.strict_json import to_json

log = structlog.get_logger(__name__)

STATUSES: Final[Mapping[type[Failure], int]] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Withheld: 404,
    MethodNotOffered: 405,
    NotAcceptable: 406,
    DuplicateKey: 409,
    Gone: 410,
    VersionConflict: 412,
    TooCostly: 413,
    TooLarge: 413,
    UnsupportedMedia: 415,
    IllegalTransition: 422,
    Invalid: 422,
    PreconditionMissing: 428,
    Throttled: 429,
    Failure: 500,
    Unavailable: 503,
}
"""STYLE §5. OAuthFailure carries its own status and is answered in the form of RFC 6749."""

MEDIA_TYPES: Final = {
    "resource": "application/fhir+json",
    "searchset": "application/fhir+json",
    "kept": "application/fhir+json",
    "view": "application/json",
    "dry-run": "application/json",
}
REALM: Final = "crisis-referral-gateway"
TOKEN_ENDPOINT: Final = "/oauth/token"  # noqa: S105 (an address)
# RFC 6749 §5.2 has a word for a client's fault and, by §4.1.2.1, one for ours.
_OAUTH_WORDS: Final = {429: "temporarily_unavailable", 503: "temporarily_unavailable", 500: "server_error"}


def render(value: Disclosed | Static | Outcome) -> Response:
    """Turn what may leave into the one answer of a request."""
    if isinstance(value, Outcome):
        return _refusal(value)
    if isinstance(value, Static):
        body = value.body if isinstance(value.body, bytes) else value.body.encode() if isinstance(value.body, str) else to_json(value.body)
        return Response(body, value.status, dict(value.headers), content_type=value.media_type)
    body = value.body if isinstance(value.body, bytes) else to_json(value.body)
    return Response(body, value.status, dict(value.headers), content_type=MEDIA_TYPES[value.kind])


def status_of(failure: Failure) -> int:
    """The HTTP status of a failure: its own row, or that of the nearest class above it."""
    if isinstance(failure, OAuthFailure):
        return failure.status
    return next(STATUSES[kind] for kind in type(failure).__mro__ if kind in STATUSES)


def install(app: Flask, services: Services) -> None:
    """Answer every failure of an application from the table, and put on every answer what all of them carry."""

    @app.errorhandler(Failure)
    def failed(failure: Failure) -> Response:
        return _answer(services, failure)

    @app.errorhandler(HTTPException)
    def refused_by_the_framework(error: HTTPException) -> Response:
        # Werkzeug's own refusals (a body cut off, a form too long) are given our words; routing is answered by the guard.
        return _answer(services, TooLarge() if isinstance(error, RequestEntityTooLarge) else Malformed())

    @app.errorhandler(Exception)
    def broke(error: Exception) -> Response:
        # class and place only: the text of an error may quote what it stumbled over
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        log.error("request failed", error=type(error).__name__, place=place, request_id=request_id(), endpoint=request.endpoint)
        return _answer(services, Failure())

    @app.after_request
    def finish(answer: Response) -> Response:
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Request-Id"] = request_id()
        return answer


def request_id() -> str:
    """The id of this request, as audit rows and logs name it."""
    return str(g.get("request_id", ""))


def _answer(services: Services, failure: Failure) -> Response:
    caller = g.get("caller")
    if caller is not None and not g.get("refusal_recorded"):
        g.refusal_recorded = True
        try:
            record_refusal(services.database, caller, failure, event=g.get("audit_event", "unknown"), target=_target())
        except Unavailable as unavailable:
            failure = unavailable
    return render(Outcome(failure, request_id()))


def _target() -> str:
    """The address as asked for; bounded, since a caller chooses its length."""
    return request.full_path.rstrip("?").removeprefix("/")[:1000]


def _refusal(outcome: Outcome) -> Response:
    failure, status = outcome.failure, status_of(outcome.failure)
    headers: dict[str, str] = {}
    if isinstance(failure, Throttled | Unavailable):
        headers["Retry-After"] = str(failure.retry_after_seconds)
    if isinstance(failure, MethodNotOffered) and g.get("methods_offered"):
        headers["Allow"] = ", ".join(sorted(g.methods_offered))
    if isinstance(failure, OAuthFailure) or request.path == TOKEN_ENDPOINT:
        return _oauth_refusal(failure, status, headers)
    if isinstance(failure, Unauthenticated):
        headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"' + (', error="invalid_token"' if failure.presented else "")
    if isinstance(failure, Forbidden):
        headers["WWW-Authenticate"] = f'Bearer realm="{REALM}", error="insufficient_scope"'
    body = operation_outcome(failure.issues)
    if status == 500:
        body["id"] = outcome.request_id  # elsewhere it stands in the header alone: equal refusals have equal bodies
    return Response(to_json(body), status, headers, content_type="application/fhir+json")


def _oauth_refusal(failure: Failure, status: int, headers: dict[str, str]) -> Response:
    """RFC 6749 §5.2. An authentication that came in the Authorization header is answered with a challenge."""
    if isinstance(failure, OAuthFailure):
        body = {"error": failure.error, "error_description": failure.description}
        if status == 401 and "Authorization" in request.headers:
            headers["WWW-Authenticate"] = f'Basic realm="{REALM}"'
    else:
        body = {"error": _OAUTH_WORDS.get(status, "invalid_request"), "error_description": failure.text}
    headers |= {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(to_json(body), status, headers, content_type="application/json")
