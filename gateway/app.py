"""The only wiring: settings → services → Flask. Nothing is decided here."""

from __future__ import annotations

import gc
from typing import Final

from flask import Flask

from gateway.delivery.jwks_fetch import make_fetch
from gateway.keys import KeyRing
from gateway.oauth.key_sets import KeySets
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.web import fhir, guard, health, intake, metadata, oauth, outcomes, referrals
from profiles import engine

GARBAGE_OBJECTS: Final = 20_000
SPARE_CONNECTIONS: Final = 4  # for what a process does beside its requests: readiness, a search's second look


def make_services(settings: Settings) -> Services:
    """Open what one process needs; call it after a fork, never before."""
    return Services(
        settings=settings,
        database=Database(
            settings.database_url,
            lock_seconds=settings.lock_seconds,
            pool_size=settings.threads + SPARE_CONNECTIONS,
            free_space_floor_bytes=settings.free_space_floor_bytes,
        ),
        validator=engine.r4(),
        keys=KeyRing(settings.keys),
        key_sets=KeySets(make_fetch(allow_private=settings.allow_private_addresses, ca_file=settings.outbound_ca_file)),
    )


def settle() -> None:
    """Tell the collector that what was loaded at the start stays: it then looks at what requests leave behind, and less often.

    A request makes tens of thousands of objects and hardly a cycle; going through the validator's tables for each cost a tenth of it.
    Before a fork as well: what the collector does not touch stays one page for all processes.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 10, 10)


def create_app(services: Services) -> Flask:
    """Put the doors on one Flask application; every route is guarded unless guard.PUBLIC names it."""
    app = Flask("gateway", static_folder=None)
    app.extensions["gateway"] = services
    app.config["MAX_CONTENT_LENGTH"] = services.settings.request_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = services.settings.request_bytes
    outcomes.install(app, services)
    guard.install(app, services)
    for module in (health, oauth, metadata, intake, referrals, fhir):
        app.register_blueprint(module.blueprint)
    return app


def build(settings: Settings) -> Flask:
    """Make the application of one server process."""
    return create_app(make_services(settings))
