"""crisis-conformance: point it at a system and read what to fix. Exit 0 pass, 1 fail, 2 usage, 3 unreachable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from conformance.checks import ROLES, Check, all_checks
from conformance.junit import junit
from conformance.keys import KeyFault, make_keys
from conformance.parties import PartiesFault, read_parties
from conformance.report import as_json, summary_line, terminal_lines
from conformance.requirements import requirements, uncovered
from conformance.runner import Unreachable, run
from conformance.standins.commands import standins
from conformance.verdicts import ERROR, FAIL, PASS, Result
from conformance.wire import WireLog

USAGE, UNREACHABLE = 2, 3

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
app.add_typer(standins, name="standin")


def _refuse(*lines: str, code: int = USAGE) -> typer.Exit:
    for line in lines:
        typer.echo(line, err=True)
    return typer.Exit(code)


def _chosen(role: str, only: list[str]) -> list[Check]:
    if role not in ROLES:
        raise _refuse(f"role {role} is not known; known: {', '.join(ROLES)}")
    checks = [check for check in all_checks() if check.role == role]
    unknown = sorted(set(only) - {check.id for check in checks})
    if unknown:
        raise _refuse(*(f"no check is called {name}; see: crisis-conformance list" for name in unknown))
    return [check for check in checks if not only or check.id in only]


@app.command("run")
def run_command(
    target: Annotated[str, typer.Option(help="Base URL of the system under test, without /fhir.")],
    client: Annotated[Path, typer.Option(help="TOML file of the clients the kit acts as (docs/conformance.md).")],
    role: Annotated[str, typer.Option(help="What the system under test is.")] = "gateway",
    only: Annotated[list[str] | None, typer.Option(help="Run this check only; may be given several times.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an offer to reach the receiver.", min=0.1)] = 20.0,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole run as JSON here.")] = None,
    wire: Annotated[Path | None, typer.Option(help="Keep every exchange in this folder, unredacted but for credentials.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Anything but pass and not applicable is a failure.")] = False,
) -> None:
    """Run the checks against a system."""
    checks = _chosen(role, only or [])
    if not target.startswith(("http://", "https://")):
        raise _refuse("--target is an http or https URL")
    table = requirements()

    def say(result: Result) -> None:
        typer.echo("\n".join(terminal_lines(result, table)))

    try:
        parties = read_parties(client)
        results = run(target, parties, checks, timeout=timeout, wire=WireLog(wire) if wire else None, report=say)
    except PartiesFault as fault:
        raise _refuse(*fault.faults) from None
    except Unreachable as fault:
        raise _refuse(str(fault), code=UNREACHABLE) from None
    typer.echo(summary_line(results))
    if junit_file:
        junit_file.write_bytes(junit(results, target, role, table))
    if json_file:
        json_file.write_text(json.dumps(as_json(results, target, role, table), indent=1), encoding="utf-8")
    raise typer.Exit(_exit_code(results, strict=strict))


def _exit_code(results: list[Result], *, strict: bool) -> int:
    """1 when something failed, or nothing could be shown at all: silence is not conformance."""
    found = {result.verdict for result in results}
    if found & {FAIL, ERROR} or not found & {PASS, "warn"}:
        return 1
    return 1 if strict and found & {"warn", "not demonstrated"} else 0


@app.command("list")
def list_command() -> None:
    """List the checks."""
    for check in all_checks():
        typer.echo(f"{check.id:<34} {check.role:<8} {check.title}")


@app.command()
def explain(check_id: Annotated[str, typer.Argument(help="Id of a check.")]) -> None:
    """Say what a check does, which rules it stands on and what usually breaks them."""
    found = next((check for check in all_checks() if check.id == check_id), None)
    if found is None:
        raise _refuse(f"no check is called {check_id}; see: crisis-conformance list")
    typer.echo(f"{found.id}: {found.title}\n\n{found.explanation}\n\nlikely cause of a failure: {found.likely_cause}\n")
    for name in found.requirements:
        row = requirements()[name]
        typer.echo(f"{row.id} ({row.level}, {row.source})\n  {row.wording}\n  {row.url}")


@app.command()
def coverage() -> None:
    """Say which rules the checks cover, and print every SHALL they do not."""
    rows = list(requirements().values())
    shalls = [row for row in rows if row.level == "SHALL"]
    missing = uncovered(rows)
    checked = sum(bool(row.checks) for row in rows)
    typer.echo(f"{len(shalls) - len(missing)} of {len(shalls)} SHALL and {checked} of {len(rows)} rules have a check.")

    for row in missing:
        typer.echo(f"{row.id} ({row.source}): {row.wording}\n  no check: {row.reason}")


@app.command()
def keys(
    name: Annotated[str, typer.Argument(help="Name of the client the keys are for.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path(),
    rsa: Annotated[bool, typer.Option("--rsa", help="Make an RSA key as well, for RS384.")] = False,
) -> None:
    """Make a client's key pair: NAME.key.json for the clients file, NAME.jwks.json to register at the target."""
    try:
        make_keys(out, name, rsa=rsa)
    except KeyFault as fault:
        raise _refuse(str(fault)) from None
    typer.echo(f"{out / f'{name}.key.json'} (private)\n{out / f'{name}.jwks.json'} (register this one)")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
