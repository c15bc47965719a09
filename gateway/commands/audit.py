"""`crisis-gateway audit verify`: the audit log against its chain, for the operator of this gateway."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from typing import Annotated

import typer

from gateway.audit.verification import Fault, Noted, Verified, verify
from gateway.commands.database import open_database
from gateway.errors import Unavailable

cli = typer.Typer(help="The audit log: numbered, chained, and the proof.", no_args_is_help=True)


@cli.callback()
def _group() -> None:
    """The audit log: numbered, chained, and the proof."""


@cli.command("verify")
def verify_log(
    as_json: Annotated[bool, typer.Option("--json", help="What was found as one JSON object.")] = False,
    against: Annotated[str | None, typer.Option(metavar="SIZE:ROOT", help="What an earlier run printed and you noted elsewhere.")] = None,
) -> None:
    """Compute every link and checkpoint anew from the rows. Exit 1 at the first fault, which is named by its sequence and audit id."""
    noted = _noted(against) if against is not None else None
    database = open_database()
    try:
        verified = verify(database, noted)
    except Unavailable:
        print("the database is out of reach", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        database.close()
    if as_json:
        print(json.dumps(dataclasses.asdict(verified)))
    else:
        for line in _lines(verified):
            print(line)
    raise typer.Exit(0 if verified.fault is None else 1)


def _noted(against: str) -> Noted:
    found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", against)
    if found is None:
        raise typer.BadParameter("is not SIZE:ROOT, a number and 64 hexadecimal digits", param_hint="--against")
    return Noted(int(found[1]), found[2])


def _lines(verified: Verified) -> list[str]:
    lag = f", the oldest for {verified.lag_seconds:.1f} s" if verified.lag_seconds else ""
    waiting = f"{verified.unlinked} rows wait for their link{lag}"
    if verified.fault is not None:
        return [f"FAULT: {_named(verified.fault)}", f"{verified.size} links before it hold; {waiting}"]
    return [
        f"the audit log is whole: {verified.size} links, {verified.checkpoints} checkpoints; {waiting}",
        f"note elsewhere, for --against: {verified.size}:{verified.root}",
    ]


def _named(fault: Fault) -> str:
    sequence = f", sequence {fault.sequence}" if fault.sequence is not None else ""
    audit_id = f", audit id {fault.audit_id}" if fault.audit_id is not None else ""
    return f"{fault.what}{sequence}{audit_id}"


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="audit")
