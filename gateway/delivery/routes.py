"""Where a delivery goes at this moment: the address in the registry, read for every try, never kept in the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.store import registry
from gateway.store.database import Unit

DELIVER: Final = "deliver"
CALLBACK: Final = "callback"


@dataclass(frozen=True, slots=True)
class Route:
    """channel: name of a channel. address: as registered. client_id: who the gateway is there, if it was told."""

    channel: str
    address: str
    client_id: str | None = None


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
