"""`crisis-gateway parties apply|show`: who takes part, from one file that can be applied again and again."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.addresses import address_check
from gateway.commands.database import open_database, read_settings
from gateway.referral.directory import Change, PartiesRefused, apply, read_parties
from gateway.store import registry
from gateway.store.database import Database, Unit

cli = typer.Typer(help="Organisations and clients that take part.", no_args_is_help=True)


class _OnlyLooking(Exception):
    """Ends a dry run: everything it did is rolled back."""


def apply_parties(database: Database, file: Path, *, allow_private: bool = False, dry_run: bool = False) -> list[Change]:
    """Apply a parties file in one transaction and return what it changed. Raises PartiesRefused, and then nothing is changed.

    allow_private: whether loopback and private addresses may be registered. dry_run: change nothing, return what would change.
    """
    parties = read_parties(file, address_check(allow_private=allow_private))
    changes: list[Change] = []

    def work(unit: Unit) -> None:
        changes[:] = apply(unit, parties)
        if dry_run:
            raise _OnlyLooking

    with contextlib.suppress(_OnlyLooking):
        database.write(work)
    return changes


@cli.command("apply")
def apply_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The parties file; key files are looked for beside it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Make the registered parties what the file says; what it does not name is left as it is. Exit 1 with every fault of the file."""
    settings, database = read_settings(), open_database()
    try:
        changes = apply_parties(database, file, allow_private=settings.allow_private_addresses, dry_run=dry_run)
    except PartiesRefused as refused:
        for fault in refused.faults:
            print(fault, file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        database.close()
    for change in changes:
        print(change)
    print("nothing was changed (dry run)" if dry_run else "applied")


@cli.command("show")
def show() -> None:
    """Print every organisation with its clients. No key is printed."""
    database = open_database()
    with database.read() as unit:
        organizations, clients = registry.organizations(unit), registry.clients(unit)
    database.close()
    for organization in organizations:
        print(f"{organization.key}  {organization.name}")
        print(f"    is        {', '.join(sorted(organization.postures))}")
        if organization.services:
            print(f"    offers    {', '.join(organization.services)}")
        if organization.channel:
            print(f"    reached   {organization.channel.kind} {organization.channel.address}")
        for client in clients:
            if client.organization == organization.key:
                state = " (suspended)" if client.suspended else ""
                print(f"    client    {client.id}{state}: {client.scopes}; {', '.join(sorted(client.purposes))}")


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="parties")
