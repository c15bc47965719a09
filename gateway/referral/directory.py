"""Who takes part, as the operator's parties file says: read as a whole, every fault named at once, applied again and again.

Nothing that the file leaves out is deleted or suspended. An organisation's directory entry is published with it; where what it is,
or what its clients may ask for, has changed, everything of its domain is judged anew in the same transaction.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import mappings
from gateway.access import records
from gateway.access.posture import POSTURES, PURPOSES
from gateway.fhir.interactions import INTERACTIONS
from gateway.oauth.jwks import KeysRefused, require_public_keys
from gateway.oauth.scopes import ScopeMalformed, Scopes, parse_scopes
from gateway.store import registry
from gateway.store.database import Unit
from gateway.store.registry import Channel, Client, Organization
from mappings.loading import code_maps
from profiles.strict_json import JsonFault, parse_json

CHANNELS: Final = frozenset({"fhir-rest"})
MAX_FILE_BYTES: Final = 4_000_000
MAX_NAME: Final = 200
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}\Z")  # also a FHIR id: Organization/<key>
_ORGANIZATION: Final = frozenset({"name", "postures", "services", "channel"})
_CLIENT: Final = frozenset({"organization", "jwks", "scopes", "purposes", "callback"})
_CHANNEL: Final = frozenset({"kind", "address", "client_id"})

AddressCheck = Callable[[str], str | None]
"""What is wrong with an address somebody wants to be called at, in a word; None where nothing is."""


class PartiesRefused(Exception):
    """The parties file cannot be applied; faults are sentences for whoever wrote it, and hold no key material."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Parties:
    """What a parties file says."""

    organizations: tuple[Organization, ...]
    clients: tuple[Client, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What applying does to one entry. verb: "adds", "changes" or "leaves". what: names of the changed fields."""

    verb: str
    kind: str
    key: str
    what: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb:<8} {self.kind} {self.key}" + (f": {', '.join(self.what)}" if self.what else "")


@dataclass(slots=True)
class _Reading:
    """A parties file while it is read."""

    folder: Path
    address_fault: AddressCheck
    faults: list[str] = field(default_factory=list)

    def text(self, table: Mapping[str, Any], name: str, place: str, *, needed: bool = True) -> str:
        value = table.get(name)
        if isinstance(value, str) and value.strip() and len(value) <= 4096 and value.isprintable():
            return value.strip()
        if needed or value is not None:
            self.faults.append(f"{place}.{name}: needs to be text")
        return ""

    def words(self, table: Mapping[str, Any], name: str, place: str, known: frozenset[str], *, needed: bool) -> frozenset[str]:
        value = table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value) or (needed and not value):
            self.faults.append(f"{place}.{name}: needs to be a list of codes")
            return frozenset()
        strange = sorted(set(value) - known)
        if strange:
            self.faults.append(f"{place}.{name}: {', '.join(strange)} not known; known: {', '.join(sorted(known))}")
        return frozenset(value)

    def members(self, table: Mapping[str, Any], known: frozenset[str], place: str) -> None:
        self.faults += [f"{place}.{name}: not known; known: {', '.join(sorted(known))}" for name in sorted(set(table) - known)]

    def address(self, value: str, place: str) -> str:
        fault = self.address_fault(value) if value else None
        if fault:
            self.faults.append(f"{place}: this address is not called ({fault})")
        return value


def read_parties(file: Path, address_fault: AddressCheck) -> Parties:
    """Read a parties file and the key files beside it. Raises PartiesRefused with every fault."""
    try:
        content = file.read_bytes()
        document = tomllib.loads(content.decode()) if len(content) <= MAX_FILE_BYTES else None
    except OSError as error:
        raise PartiesRefused([f"{file.name}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PartiesRefused([f"{file.name}: not TOML ({error})"]) from None
    if document is None:
        raise PartiesRefused([f"{file.name}: longer than {MAX_FILE_BYTES} bytes"])
    reading = _Reading(file.parent, address_fault)
    reading.members(document, frozenset({"organization", "client"}), file.name)
    organizations = tuple(_organization(reading, key, table) for key, table in _tables(reading, document, "organization"))
    clients = tuple(_client(reading, key, table) for key, table in _tables(reading, document, "client"))
    if reading.faults:
        raise PartiesRefused(reading.faults)
    return Parties(organizations, clients)


def apply(unit: Unit, parties: Parties) -> list[Change]:
    """Write what the file says and tell what that changed. Raises PartiesRefused when a client's organisation is nowhere."""
    known = {organization.key for organization in registry.organizations(unit)} | {each.key for each in parties.organizations}
    homeless = [f"client.{each.id}.organization: {each.organization} is not registered" for each in parties.clients]
    homeless = [fault for fault, each in zip(homeless, parties.clients, strict=True) if each.organization not in known]
    if homeless:
        raise PartiesRefused(homeless)
    changes, judged = [], set()
    for organization in parties.organizations:
        before = registry.find_organization(unit, organization.key)
        change = _change("organization", organization.key, before, organization, ("name", "postures", "services", "channel"))
        changes.append(change)
        if change.verb != "leaves":
            registry.put_organization(unit, organization)
        records.publish_organization(unit, organization.key, organization.name)
        if "postures" in change.what:
            judged.add(organization.key)
    for client in parties.clients:
        change, organizations = put_client(unit, client)
        changes.append(change)
        judged |= organizations
    for key in sorted(judged):
        records.rebuild_visible(unit, key)
    return changes


def put_client(unit: Unit, client: Client) -> tuple[Change, frozenset[str]]:
    """Write one client; a suspended one stays suspended. Returns the change, and whose permits are to be written anew."""
    before = registry.client_of(unit, client.id)
    if before is not None:
        client = replace(client, suspended=before.suspended)
    fields = ("organization", "scopes", "purposes", "jwks", "jwks_url", "callback")
    change = _change("client", client.id, before, client, fields)
    if change.verb == "leaves":
        return change, frozenset()
    registry.put_client(unit, client)
    moved = before is None or before.purposes != client.purposes or before.organization != client.organization
    organizations = {client.organization, before.organization if before else client.organization}
    return change, frozenset(organizations) if moved else frozenset()


def service_types() -> frozenset[str]:
    """The codes of our service-type code system."""
    return frozenset(code_maps()["service-type"].forms["code"].values())


def scope_faults(text: str) -> Iterator[str]:
    """What of a registered scope this gateway does not have."""
    for word in text.split():
        if not read_scopes(word):
            yield f"{word} is no scope of this gateway"
            continue
        kind = word.removeprefix("system/").partition(".")[0]
        if word.startswith("system/") and kind != "*" and kind not in INTERACTIONS:
            yield f"{word}: {kind} is not offered"
        if word.startswith("__") and word.removeprefix("__gateway.intake.") not in mappings.formats():
            yield f"{word} is no scope of this gateway"


def read_scopes(text: str) -> Scopes:
    """The scopes of a registration; none where the text is malformed, which `scope_faults` names."""
    try:
        return parse_scopes(text)
    except ScopeMalformed:
        return Scopes()


def read_keys(folder: Path, value: str, address_fault: AddressCheck) -> tuple[dict[str, Any] | None, str | None]:
    """A client's keys: (JWK set, None) of a file, or (None, address). Raises KeysRefused, naming what is wrong and no key."""
    if "://" in value:
        fault = address_fault(value)
        if fault:
            raise KeysRefused(f"this address is not called ({fault})")
        return None, value
    try:
        content = (folder / value).read_bytes()
    except (OSError, ValueError) as error:
        raise KeysRefused(f"{value}: {getattr(error, 'strerror', None) or 'cannot be read'}") from None
    try:
        document = parse_json(content)
    except JsonFault:
        raise KeysRefused(f"{value}: not JSON") from None
    return require_public_keys(json.loads(json.dumps(document, default=float))), None


def _tables(reading: _Reading, document: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        reading.faults.append(f"{kind}: needs to be tables, such as [{kind}.some-key]")
        return
    for key, table in tables.items():
        if not isinstance(table, dict):
            reading.faults.append(f"{kind}.{key}: needs to be a table")
        elif not _KEY.match(key):
            reading.faults.append(f"{kind}.{key}: a key is 1 to 64 letters, digits, dots and hyphens, and begins with a letter or digit")
        else:
            yield key, table


def _organization(reading: _Reading, key: str, table: Mapping[str, Any]) -> Organization:
    place = f"organization.{key}"
    reading.members(table, _ORGANIZATION, place)
    return Organization(
        key=key,
        name=reading.text(table, "name", place)[:MAX_NAME],
        postures=reading.words(table, "postures", place, POSTURES, needed=True),
        services=tuple(sorted(reading.words(table, "services", place, service_types(), needed=False))),
        channel=_channel(reading, table["channel"], f"{place}.channel") if "channel" in table else None,
    )


def _channel(reading: _Reading, table: Any, place: str) -> Channel | None:
    if not isinstance(table, dict):
        reading.faults.append(f"{place}: needs to be a table with kind and address")
        return None
    reading.members(table, _CHANNEL, place)
    kind = reading.text(table, "kind", place)
    if kind and kind not in CHANNELS:
        reading.faults.append(f"{place}.kind: {kind} not known; known: {', '.join(sorted(CHANNELS))}")
    address = reading.address(reading.text(table, "address", place), f"{place}.address")
    return Channel(kind, address, reading.text(table, "client_id", place, needed=False) or None)


def _client(reading: _Reading, key: str, table: Mapping[str, Any]) -> Client:
    place = f"client.{key}"
    reading.members(table, _CLIENT, place)
    jwks: dict[str, Any] | None = None
    jwks_url: str | None = None
    named = reading.text(table, "jwks", place)
    if named:
        try:
            jwks, jwks_url = read_keys(reading.folder, named, reading.address_fault)
        except KeysRefused as refused:
            reading.faults.append(f"{place}.jwks: {refused}")
    scopes = reading.text(table, "scopes", place)
    reading.faults += [f"{place}.scopes: {fault}" for fault in scope_faults(scopes)]
    callback = table.get("callback")
    if callback is not None and (not isinstance(callback, dict) or set(callback) != {"address"}):
        reading.faults.append(f"{place}.callback: needs to be a table with address")
        callback = None
    return Client(
        id=key,
        organization=reading.text(table, "organization", place),
        scopes=str(read_scopes(scopes)),
        purposes=reading.words(table, "purposes", place, PURPOSES, needed=True),
        jwks=jwks,
        jwks_url=jwks_url,
        callback=reading.address(reading.text(callback, "address", f"{place}.callback"), f"{place}.callback") if callback else None,
    )


def _change(kind: str, key: str, before: Any, after: Any, fields: tuple[str, ...]) -> Change:
    if before is None:
        return Change("adds", kind, key)
    changed = tuple(name for name in fields if getattr(before, name) != getattr(after, name))
    return Change("changes" if changed else "leaves", kind, key, changed)
