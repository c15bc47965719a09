"""`/fhir/<Type>…`: read, search, and the two writes. Parses the HTTP, calls one function, renders the one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, Response, current_app, request

from gateway.access import records
from gateway.errors import Malformed, NotAcceptable, TooCostly, TooLarge
from gateway.fhir.interactions import (
    INTERACTIONS,
    MAX_BYTES,
    PATCH,
    PATCH_TYPES,
    READ,
    RESOURCE_TYPES,
    SEARCH,
    UPDATE,
    accepts_json,
    prefers_strict,
)
from gateway.fhir.search import parse_search
from gateway.referral.consents import patch_consent
from gateway.referral.progress import patch_task, update_task
from gateway.services import Services
from gateway.web.bodies import bounded_body, require_readable
from gateway.web.guard import caller, door
from gateway.web.outcomes import render
from profiles.issues import Issue
from profiles.strict_json import JsonFault, parse_json

blueprint = Blueprint("fhir", __name__)
FORM: Final = frozenset({"application/x-www-form-urlencoded"})
MAX_FORM_BYTES: Final = 64_000


def _services() -> Services:
    found: Services = current_app.extensions["gateway"]
    return found


def _require_acceptable() -> None:
    if not accepts_json(request.headers.get("Accept")):
        raise NotAcceptable


def _json_body(media_types: frozenset[str]) -> Any:
    try:
        return parse_json(bounded_body(MAX_BYTES, media_types))
    except JsonFault as fault:
        issue = (Issue("error", "structure", fault.text, (), fault.pointer),)
        if fault.kind == "structure":
            raise Malformed(issue) from None
        raise (TooCostly if fault.kind == "too-deep" else TooLarge) from None


def _read(resource_type: str) -> Callable[[str], Response]:
    def read(resource_id: str) -> Response:
        _require_acceptable()
        return render(records.read(_services().database, caller(), resource_type, resource_id))

    return read


def _search(resource_type: str) -> Callable[[], Response]:
    def search() -> Response:
        _require_acceptable()
        params = [(name, value) for name, values in request.args.lists() for value in values]
        if request.method == "POST":
            _bounded_form()
            params += [(name, value) for name, values in request.form.lists() for value in values]
        base_url = f"{_services().settings.base_url}/fhir"
        wanted = parse_search(resource_type, params, base_url=base_url, strict=prefers_strict(request.headers.get("Prefer")))
        return render(records.search(_services().database, caller(), wanted))

    return search


def _bounded_form() -> None:
    require_readable(FORM)
    if request.content_length is None or request.content_length > MAX_FORM_BYTES:
        raise TooLarge


def _update_task(resource_id: str) -> Response:
    _require_acceptable()
    body = _json_body(RESOURCE_TYPES)
    if not isinstance(body, dict):
        raise Malformed((Issue("error", "structure", "The body is not a resource.", (), ""),))
    return render(update_task(_services(), caller(), resource_id, body, request.headers.get("If-Match")))


def _patch_task(resource_id: str) -> Response:
    _require_acceptable()
    return render(patch_task(_services(), caller(), resource_id, _json_body(PATCH_TYPES), request.headers.get("If-Match")))


def _patch_consent(resource_id: str) -> Response:
    _require_acceptable()
    return render(patch_consent(_services(), caller(), resource_id, _json_body(PATCH_TYPES), request.headers.get("If-Match")))


_UPDATES: Final = {"Task": _update_task}
_PATCHES: Final = {"Task": _patch_task, "Consent": _patch_consent}


def _route(rule: str, resource_type: str, letter: str, view: Callable[..., Response], methods: list[str], name: str) -> None:
    view.__name__ = f"{name}_{resource_type}"
    blueprint.add_url_rule(rule, view.__name__, door(fhir=resource_type, letter=letter)(view), methods=methods)


for _type, _offered in INTERACTIONS.items():
    _one, _all = f"/fhir/{_type}/<resource_id>", f"/fhir/{_type}"
    if READ in _offered:
        _route(_one, _type, READ.letter, _read(_type), ["GET", "HEAD"], "read")
    if SEARCH in _offered:
        _route(_all, _type, SEARCH.letter, _search(_type), ["GET", "HEAD"], "search")
        _route(f"{_all}/_search", _type, SEARCH.letter, _search(_type), ["POST"], "post_search")
    if UPDATE in _offered:
        _route(_one, _type, UPDATE.letter, _UPDATES[_type], ["PUT"], "update")
    if PATCH in _offered:
        _route(_one, _type, PATCH.letter, _PATCHES[_type], ["PATCH"], "patch")
