"""Where a delivery goes at this moment, and by which channel: read from the registry for every try, never kept in the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.delivery.channels.callback import Callback
from gateway.delivery.channels.channel import Channel
from gateway.delivery.channels.fhir_rest import FhirRest
from gateway.delivery.channels.smart import SmartClient
from gateway.services import Services
from gateway.store import registry
from gateway.store.database import Unit

DELIVER: Final = "deliver"
CALLBACK: Final = "callback"
FHIR_REST: Final = "fhir-rest"


@dataclass(frozen=True, slots=True)
class Route:
    """channel: name of a channel. address: as registered. client_id: who the gateway is there, if it was told."""

    channel: str
    address: str
    client_id: str | None = None


def make_channels(services: Services) -> dict[str, Channel]:
    """Every channel this release has, by the name it has in the registry.

    Optional settings: outbound_hosts (hosts that may give tokens beside a receiver's own), outbound_ca_file (certificates
    to trust instead of the system's).
    """
    settings = services.settings
    private = settings.allow_private_addresses
    ca_file: str | None = getattr(settings, "outbound_ca_file", None)
    smart = SmartClient(services.keys, settings.base_url, private, frozenset(getattr(settings, "outbound_hosts", ())))
    return {
        FHIR_REST: FhirRest(smart, settings.base_url, ca_file, settings.call_seconds),
        CALLBACK: Callback(services.keys, private, ca_file, settings.call_seconds),
    }


def find_route(unit: Unit, kind: str, destination: str) -> Route | None:
    """The way to a destination (an organisation's key for "deliver", a client's id for "callback"), if it has one."""
    if kind == DELIVER:
        organization = registry.find_organization(unit, destination)
        if organization is None or organization.channel is None:
            return None
        return Route(organization.channel.kind, organization.channel.address, organization.channel.client_id)
    if kind == CALLBACK:
        client = registry.client_of(unit, destination)
        return Route(CALLBACK, client.callback) if client is not None and client.callback else None
    return None
