"""`crisis-gateway map FORMAT FILE [--trace] [--strict]`: the dry run without a server; nothing is stored or sent."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import mappings
from gateway.errors import Failure
from gateway.referral.reading import dry_run_body, read_message
from profiles import engine
from profiles.issues import operation_outcome
from profiles.strict_json import to_json


def map_message(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="Intake format, such as rms-diversion.")],
    file: Annotated[Path, typer.Argument(help="The message; - for standard input.")],
    trace: Annotated[bool, typer.Option("--trace", help="Also print where each value came from.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse fields the schema does not know.")] = False,
    organization: Annotated[str, typer.Option(help="Key of the sending organisation.")] = "sender",
) -> None:
    """Print the Bundle a message would become. Exit 1 with an OperationOutcome on standard error if it has faults."""
    if format_name not in mappings.formats():
        raise typer.BadParameter(f"known formats: {', '.join(mappings.formats())}")
    if str(file) != "-" and not file.is_file():  # typer's own check refuses the dash
        raise typer.BadParameter(f"there is no file {file}")
    body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        shown = dry_run_body(read_message(engine.r4(), secrets.token_bytes(32), format_name, body, strict=strict), organization)
    except Failure as failure:
        print(json.dumps(operation_outcome(failure.issues), indent=2), file=sys.stderr)
        raise typer.Exit(1) from None
    # decimals keep the digits they came with; the standard library would write 47.4820100 as 47.48201
    typer.echo(msgspec.json.format(to_json(shown if trace else shown["bundle"]), indent=2))


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("map")(map_message)
