"""`crisis-gateway ledger print|verify`: who held a referral and when, for the operator of this gateway."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gateway.commands.database import open_database
from gateway.errors import NotFound
from gateway.referral.ledger_report import print_ledger, verify_ledgers

cli = typer.Typer(help="The responsibility ledger: who holds a referral, and the proof.", no_args_is_help=True)


@cli.command("print")
def print_one(
    receipt: Annotated[str, typer.Argument(help="The sender's receipt.")],
    as_json: Annotated[bool, typer.Option("--json", help="Entries as JSON lines.")] = False,
) -> None:
    """Print the entries of one referral in order, and whether the chain holds. The reading is audited."""
    database = open_database()
    try:
        printed = print_ledger(database, receipt, as_json=as_json)
    except NotFound:
        print("no such receipt", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        database.close()
    body = printed.body
    for line in body["lines"] if isinstance(body, dict) else ():
        print(line)


@cli.command("verify")
def verify() -> None:
    """Check all nine invariants on every ledger. Exit 1 if one is broken."""
    faults = verify_ledgers(open_database())
    for referral, found in faults.items():
        print(f"{referral}: {'; '.join(found)}")
    print("every ledger is sound" if not faults else f"{len(faults)} ledgers are not sound")
    raise typer.Exit(1 if faults else 0)


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="ledger")
