"""The guard before every route: closed by default, by type and never by instance.

A route is public only if `PUBLIC` names it; every other one needs a token and says by `door` what the token must cover. A route
that says nothing is refused to everybody. What is asked for at addresses that do not exist is refused like the rest: without a
token one learns nothing of what there is. Who asks too often is refused before anything is looked up for it or written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from flask import Flask, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from gateway.errors import Forbidden, MethodNotOffered, NotFound, Throttled, Unauthenticated
from gateway.oauth.context import Caller
from gateway.oauth.tokens import authenticate
from gateway.services import Services
from gateway.store.ids import new_id
from gateway.store.security_log import count_unknown_caller
from gateway.web.limits import Limits

PUBLIC: Final = frozenset(
    {
        "health.healthz",
        "health.readyz",
        "intake.schema",
        "metadata.authorization_server",
        "metadata.capability_statement",
        "metadata.smart_configuration",
        "oauth.jwks",
        "oauth.token",
    }
)
"""Endpoints that need no token. They hold nothing of any record; a test holds the set as it is."""

_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_MAX_HEADER: Final = 8192
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TOKEN_ENDPOINT: Final = "oauth.token"  # noqa: S105 (an endpoint)
_EVENTS: Final = {"r": "read", "s": "search", "u": "update", "c": "create", "d": "delete"}

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Door:
    """What a token must cover to pass: one interaction on a FHIR type, one scope of our own, or any one with a prefix."""

    fhir: str | None = None
    letter: str | None = None
    own_scope: str | None = None
    own_prefix: str | None = None

    def opens_to(self, caller: Caller) -> bool:
        """Whether the caller's scopes cover it."""
        if self.fhir is not None and self.letter is not None:
            return caller.scopes.covers(self.fhir, self.letter)
        if self.own_scope is not None:
            return caller.scopes.has(self.own_scope)
        return self.own_prefix is not None and caller.scopes.has_prefix(self.own_prefix)

    def event(self, method: str) -> str:
        """The word an audit row has for a refusal at this door."""
        if self.letter is not None:
            return "patch" if method == "PATCH" else _EVENTS[self.letter]
        if self.own_scope is not None:
            return "intake"
        return "cancel" if method == "POST" else "read"


def door(
    *, fhir: str | None = None, letter: str | None = None, own_scope: str | None = None, own_prefix: str | None = None
) -> Callable[[View], View]:
    """Say what a token must cover to reach a view.

    fhir, letter: a resource type and the SMART letter of the interaction. own_scope: one of our `__gateway.` scopes. own_prefix:
    any scope that begins so.
    """

    def attach(view: View) -> View:
        view.door = Door(fhir, letter, own_scope, own_prefix)  # type: ignore[attr-defined]
        return view

    return attach


def install(app: Flask, services: Services) -> None:
    """Put the guard before every request of an application."""
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # it would answer for routes that do not offer it
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    limits = Limits(services.settings)

    @app.before_request
    def stand_guard() -> None:
        g.request_id = new_id()
        if request.endpoint == _TOKEN_ENDPOINT:
            _count_unknown(limits)  # whoever asks for a token has proved nothing yet, and has a signature checked
        if _endpoint(app) in PUBLIC:
            _require_route()
            _require_plain_path()
            return
        g.caller = _known_caller(services, limits)
        _require_route()
        asked = door_of(app, request.endpoint)
        if asked is not None:
            g.audit_event = asked.event(request.method)
        if asked is None or not asked.opens_to(g.caller):
            raise Forbidden
        _require_plain_path()


def door_of(app: Flask, endpoint: str | None) -> Door | None:
    """What a route says it needs; None where it says nothing."""
    return getattr(app.view_functions.get(endpoint or ""), "door", None)


def caller() -> Caller:
    """Who is calling, in a route that is not public."""
    return cast(Caller, g.caller)


def _endpoint(app: Flask) -> str | None:
    """The endpoint of this address, also where only the method is wrong."""
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return request.endpoint
    endpoint: str = app.url_map.bind("").match(request.path, method=next(iter(error.valid_methods)))[0]
    return endpoint


def _require_route() -> None:
    """Raise what stands for an address that does not exist, or a method it does not have."""
    error = request.routing_exception
    if error is None:
        return
    if isinstance(error, MethodNotAllowed):
        g.methods_offered = frozenset(error.valid_methods or ())
        raise MethodNotOffered
    if isinstance(error, HTTPException | RequestRedirect):
        raise NotFound
    raise error


def _require_plain_path() -> None:
    """Nothing has a control character in its address; PostgreSQL could not even be asked for one (NUL). Raises NotFound."""
    if _CONTROL.search(request.path):
        raise NotFound


def _known_caller(services: Services, limits: Limits) -> Caller:
    """The caller of this request, within its limits. Raises Unauthenticated, or Throttled: then nobody is known and nothing is audited."""
    try:
        found = _authenticated(services)
    except Unauthenticated as failure:
        if failure.presented:  # a known caller at the same address is never held up by it
            _count_unknown(limits)
        raise
    limits.take_of_client(found.client_id)
    return found


def _count_unknown(limits: Limits) -> None:
    try:
        limits.take_of_address(request.remote_addr)
    except Throttled:
        count_unknown_caller("throttled")
        raise


def _authenticated(services: Services) -> Caller:
    """The caller of this request's token. Raises Unauthenticated; unknown callers are counted and cost no write."""
    header = request.headers.get("Authorization")
    if header is None:
        count_unknown_caller("no-token")
        raise Unauthenticated
    found = _BEARER.fullmatch(header) if len(header) <= _MAX_HEADER else None
    if found is None:
        count_unknown_caller("no-bearer")
        raise Unauthenticated(presented=True)
    try:
        return authenticate(services.database, found[1], g.request_id)
    except Unauthenticated:
        count_unknown_caller("bad-token")
        raise
