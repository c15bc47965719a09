"""`/healthz` and `/readyz`: one word each, for a supervisor or load balancer. Nothing of any record, no version, no reason."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

blueprint = Blueprint("health", __name__)


def _word(word: str, status: int) -> Response:
    return Response(word + "\n", status, {"Cache-Control": "no-store"}, content_type="text/plain; charset=utf-8")


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return _word("ok", 200)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Requests would be answered: the database can be read and written, with room left."""
    return _word("ready", 200) if current_app.extensions["gateway"].database.ready() else _word("unready", 503)
