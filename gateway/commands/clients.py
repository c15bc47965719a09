"""`crisis-gateway client add|show|keys|suspend|resume|list`: one registered system at a time.

A suspended client gets no token, and those it has are void at once. Keys are public ones; a file with a private one is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.access import records
from gateway.access.posture import PURPOSES
from gateway.commands.addresses import address_check
from gateway.commands.database import open_database, read_settings
from gateway.oauth.jwks import KeysRefused
from gateway.referral.directory import put_client, read_keys, read_scopes, scope_faults
from gateway.store import registry
from gateway.store.database import Unit
from gateway.store.registry import Client

cli = typer.Typer(help="Registered systems.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]
Jwks = Annotated[str, typer.Option(help="Its public JWK Set: a file, or an https address.")]


@cli.command("add")
def add(
    client_id: Id,
    organization: Annotated[str, typer.Option(help="Key of a registered organisation.")],
    jwks: Jwks,
    scopes: Annotated[str, typer.Option(help="What it may ask for, with blanks between.")],
    purpose: Annotated[list[str], typer.Option(help="A v3 ActReason code; again for more.")],
    callback: Annotated[str | None, typer.Option(help="Where it wants to be told of changes.")] = None,
) -> None:
    """Register a system, or change one that is."""
    fault = address_check(allow_private=read_settings().allow_private_addresses)
    faults = list(scope_faults(scopes))
    faults += [f"{code} is no purpose this gateway knows" for code in purpose if code not in PURPOSES]
    if callback is not None and fault(callback):
        faults.append(f"the callback's address is not called ({fault(callback)})")
    keys = _keys(jwks, fault, faults)
    if faults:
        _refuse(*faults)
    client = Client(client_id, organization, str(read_scopes(scopes)), frozenset(purpose), *keys, callback)

    def work(unit: Unit) -> str:
        if registry.find_organization(unit, organization) is None:
            return f"{organization} is not registered"
        change, judged = put_client(unit, client)
        for key in sorted(judged):
            records.rebuild_visible(unit, key)
        print(change)
        return ""

    _write(work)


@cli.command("keys")
def keys(client_id: Id, jwks: Jwks) -> None:
    """Replace a system's keys; assertions signed with the old ones are refused from now on."""
    faults: list[str] = []
    found = _keys(jwks, address_check(allow_private=read_settings().allow_private_addresses), faults)
    if faults:
        _refuse(*faults)
    _change(client_id, lambda client: replace(client, jwks=found[0], jwks_url=found[1]), "keys replaced")


@cli.command("suspend")
def suspend(client_id: Id) -> None:
    """Refuse a system from now on; its tokens are void at once."""
    _change(client_id, lambda client: replace(client, suspended=True), "suspended")


@cli.command("resume")
def resume(client_id: Id) -> None:
    """Let a suspended system in again."""
    _change(client_id, lambda client: replace(client, suspended=False), "resumed")


@cli.command("show")
def show(client_id: Id) -> None:
    """Print what is registered of a system, as JSON."""
    database = open_database()
    with database.read() as unit:
        client = registry.client_of(unit, client_id)
    database.close()
    if client is None:
        _refuse("no such client")
    print(
        json.dumps(
            {
                "id": client.id,
                "organization": client.organization,
                "scopes": client.scopes,
                "purposes": sorted(client.purposes),
                "jwks_url": client.jwks_url,
                "keys": [{name: key.get(name) for name in ("kid", "kty", "crv")} for key in (client.jwks or {}).get("keys", [])],
                "callback": client.callback,
                "suspended": client.suspended,
            },
            indent=2,
        )
    )


@cli.command("list")
def list_clients() -> None:
    """Print every system, one a line."""
    database = open_database()
    with database.read() as unit:
        found = registry.clients(unit)
    database.close()
    for client in found:
        print(f"{client.id}  {client.organization}  {'suspended' if client.suspended else 'active'}  {client.scopes}")


def _keys(jwks: str, fault: Callable[[str], str | None], faults: list[str]) -> tuple[dict[str, object] | None, str | None]:
    try:
        return read_keys(Path(), jwks, fault)
    except KeysRefused as refused:
        faults.append(str(refused))
        return None, None


def _change(client_id: str, change: Callable[[Client], Client], done: str) -> None:
    def work(unit: Unit) -> str:
        client = registry.client_of(unit, client_id)
        if client is None:
            return "no such client"
        registry.put_client(unit, change(client))
        return ""

    _write(work)
    print(f"{client_id}: {done}")


def _write(work: Callable[[Unit], str]) -> None:
    database = open_database()
    try:
        fault = database.write(work)
    finally:
        database.close()
    if fault:
        _refuse(fault)


def _refuse(*faults: str) -> NoReturn:
    for fault in faults:
        print(fault, file=sys.stderr)
    raise typer.Exit(1)


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="client")
