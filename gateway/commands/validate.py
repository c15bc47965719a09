"""`crisis-gateway validate FILE…` and `--jobs - --json`: the validator every door uses, for a shell."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from profiles import engine, jobs
from profiles.strict_json import JsonFault, parse_json


def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Resources to check.")] = None,
    job_file: Annotated[str, typer.Option("--jobs", help="A file of jobs, one JSON object a line; - for standard input.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A verdict a line as JSON.")] = False,
) -> None:
    """Check R4 resources. Exit 0 when nothing is wrong, 1 when there are errors."""
    if job_file:
        if not as_json:
            raise typer.BadParameter("--jobs prints verdicts as JSON lines: add --json")
        with sys.stdin if job_file == "-" else Path(job_file).open(encoding="utf-8") as lines:
            jobs.run(lines, sys.stdout)
        return
    wrong = False
    for file in files or []:
        try:
            issues = engine.r4().validate(parse_json(file.read_bytes()))
        except JsonFault as fault:
            print(f"{file}: {fault.pointer or '/'}: {fault.text}")
            wrong = True
            continue
        wrong |= any(issue.severity in ("error", "fatal") for issue in issues)
        for issue in issues:
            rendered = (
                json.dumps({"file": str(file), **issue.as_json()})
                if as_json
                else f"{file}: {issue.severity}: {', '.join(issue.expression)}: {issue.text}"
            )
            print(rendered)
    raise typer.Exit(1 if wrong else 0)


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("validate")(validate)
