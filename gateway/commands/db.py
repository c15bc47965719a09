"""`crisis-gateway db upgrade|check|reindex`: the schema, and the permits that are compiled from policy and parties."""

from __future__ import annotations

import sys

import typer

from gateway.access import records
from gateway.commands.database import open_database, read_settings, telling_refusals
from gateway.errors import Unavailable
from gateway.store import migrations

cli = typer.Typer(help="The database's schema and compiled permits.", no_args_is_help=True)


@cli.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest revision; the whole of it or nothing. A database that is there already is left as it is."""
    settings = read_settings()
    with telling_refusals():
        try:
            before = migrations.upgrade(settings.database_url)
        except Unavailable:
            print("the database is out of reach", file=sys.stderr)
            raise typer.Exit(1) from None
        except migrations.UnknownRevision as refused:
            print(refused, file=sys.stderr)
            raise typer.Exit(1) from None
    if before.is_current:
        print(f"already at revision {before.head}")
    else:
        print(f"from revision {before.current or 'none'} to {before.head}")


@cli.command("check")
def check() -> None:
    """Exit 0 when the database is at the newest revision, 1 when it is not."""
    open_database().close()
    print("at the newest revision")


@cli.command("reindex")
def reindex() -> None:
    """Compile every permit anew, after a change of the policy table; one transaction."""
    database = open_database()
    try:
        judged = database.write(records.rebuild_visible)
    finally:
        database.close()
    print(f"{judged} resources judged anew")


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="db")
