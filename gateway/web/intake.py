"""`POST /intake/<format>` and its published schema. Parses the HTTP, calls referral.intake, renders the one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Blueprint, Response, current_app, request

import mappings
from gateway.access.disclosed import Static
from gateway.errors import Invalid, NotFound
from gateway.fhir.interactions import prefers_strict
from gateway.referral.intake import take_in
from gateway.services import Services
from gateway.web.bodies import bounded_body
from gateway.web.guard import caller, door
from gateway.web.outcomes import render
from profiles.issues import Issue

MAX_BYTES: Final = 256 * 1024
JSON_TYPES: Final = frozenset({"application/json"})
blueprint = Blueprint("intake", __name__)


def services() -> Services:
    """The services of this process, put there by app.py."""
    found: Services = current_app.extensions["gateway"]
    return found


def _flag(name: str) -> bool:
    values = request.args.getlist(name)
    if len(values) > 1:
        raise Invalid((Issue("error", "value", f"{name} is named once.", (), f"?{name}"),))
    value = values[0] if values else "false"
    if value not in ("true", "false"):
        raise Invalid((Issue("error", "value", f"{name} is true or false.", (), f"?{name}"),))
    return value == "true"


def _intake(format_name: str) -> Callable[[], Response]:
    def post() -> Response:
        unknown = set(request.args) - {"dry-run"}
        if unknown:
            raise Invalid((Issue("error", "value", "Only dry-run is read from the query.", (), "?"),))
        body = bounded_body(MAX_BYTES, JSON_TYPES)
        return render(
            take_in(services(), caller(), format_name, body, strict=prefers_strict(request.headers.get("Prefer")), dry_run=_flag("dry-run"))
        )

    post.__name__ = f"post_{format_name.replace('-', '_')}"
    return post


for _name in mappings.formats():
    blueprint.add_url_rule(
        f"/intake/{_name}", f"post_{_name}", door(own_scope=f"__gateway.intake.{_name}")(_intake(_name)), methods=["POST"]
    )


@blueprint.get("/intake/<format_name>/schema")
def schema(format_name: str) -> Response:
    """The published JSON Schema of a format, with complete examples; public."""
    if format_name not in mappings.formats():
        raise NotFound
    return render(Static(mappings.load(format_name).schema, media_type="application/schema+json"))
