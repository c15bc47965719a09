"""A reference gateway behind a real socket, and the clients file to test it with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from conformance.keys import make_keys
from conformance.parties import INTAKE_SCOPE, Party
from tests.conformance.reference_server import Client, Reference, make_app

FHIR_SCOPE = "system/Task.rus system/Patient.rs system/ServiceRequest.rs"
ROLES = {
    "sender": ("kit-police", INTAKE_SCOPE),
    "receiver": ("kit-clinic", FHIR_SCOPE),
    "stranger": ("kit-stranger", FHIR_SCOPE),
    "other_sender": ("kit-other-police", INTAKE_SCOPE),
}


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


def make_parties(folder: Path) -> dict[str, Party]:
    """Keys for every party of the kit; the receiver has an RSA key as well."""
    return {
        role: Party(role, f"kit-{role}", tuple(make_keys(folder, role, rsa=role == "receiver")), scope, organization)
        for role, (organization, scope) in ROLES.items()
    }


def clients_of(parties: dict[str, Party]) -> dict[str, Client]:
    """The parties as the gateway has them registered."""
    return {
        party.client_id: Client(
            party.client_id, str(party.organization), set(party.scope.split()), {str(key.kid): key for key in party.keys}
        )
        for party in parties.values()
    }


@contextlib.contextmanager
def serving(kind: type[Reference], parties: dict[str, Party]) -> Iterator[Reference]:
    """Serve a reference, or a mutation of it, for a while."""
    gateway = kind("", clients_of(parties))
    server = make_server("127.0.0.1", 0, make_app(gateway), threaded=True, request_handler=Quiet)
    gateway.base_url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
