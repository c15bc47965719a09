"""The only wiring: settings → services → Flask. Nothing is decided here."""

from __future__ import annotations

from flask import Flask

from gateway.keys import KeyRing
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.web import fhir, guard, health, intake, metadata, oauth, outcomes, referrals
from profiles import engine


def make_services(settings: Settings) -> Services:
    """Open what one process needs; call it after a fork, never before."""
    return Services(
        settings=settings,
        database=Database(settings.database_url),
        validator=engine.r4(),
        keys=KeyRing(settings.keys),
    )


def create_app(services: Services) -> Flask:
    """Put the doors on one Flask application; every route is guarded unless guard.PUBLIC names it."""
    app = Flask("gateway", static_folder=None)
    app.extensions["gateway"] = services
    app.json.sort_keys = False  # type: ignore[attr-defined]
    outcomes.install(app, services)
    guard.install(app, services)
    for module in (health, oauth, metadata, intake, referrals, fhir):
        app.register_blueprint(module.blueprint)
    return app


def build(settings: Settings) -> Flask:
    """Make the application of one server process."""
    return create_app(make_services(settings))
