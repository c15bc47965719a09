"""`crisis-gateway deliveries list|show|replay|drop`: what was given up or is in doubt, for a person to look at.

Nothing of what was sent and nothing a peer wrote is kept, so nothing of it can be shown: ids, states, HTTP status and issue
codes. A replay goes the ordinary way: what leaves is decided and audited anew when it leaves.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from gateway.commands.database import open_database
from gateway.store import deliveries as stored
from gateway.store import destinations
from gateway.store.database import Database, Unit
from gateway.store.deliveries import Delivery

cli = typer.Typer(help="Deliveries that were given up (dead) or may have arrived (unknown).", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids as list prints them.")]


@cli.command("list")
def list_deliveries(as_json: AsJson = False) -> None:
    """Print dead and unknown deliveries, oldest first, then how many rows stand where, and destinations held off."""
    database = open_database()
    with database.read() as unit:
        looked_at = [*stored.dead_letters(unit), *stored.unknowns(unit)]
        counts, held_off = stored.counts(unit), destinations.held_off(unit)
    database.close()
    for delivery in looked_at:
        print(_as_json(delivery) if as_json else _line(delivery))
    if as_json:
        return
    for (kind, state), count in sorted(counts.items()):
        print(f"{count:>7}  {kind} {state}")
    for peer in held_off:
        until = _time(peer.open_until)
        print(f"held off until {until}: {peer.kind} to {peer.destination}, {peer.failures} failures in a row")


@cli.command("show")
def show(delivery_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Print all that is kept of one delivery, as JSON."""
    database = open_database()
    with database.read() as unit:
        delivery = stored.find_delivery(unit, delivery_id)
    database.close()
    if delivery is None:
        print("no such delivery")
        raise typer.Exit(1)
    print(_as_json(delivery, indent=2))


@cli.command("replay")
def replay(
    delivery_ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All dead ones (never the unknown: look at each).")] = False,
    destination: Annotated[str | None, typer.Option(help="With --all: only those to this destination.")] = None,
) -> None:
    """Try deliveries again now, each under its old delivery id. An unknown one may then arrive twice."""
    database = open_database()
    ids = list(delivery_ids or [])
    if every:
        with database.read() as unit:
            ids += [letter.id for letter in stored.dead_letters(unit) if destination in (None, letter.destination)]
    _each(database, ids, stored.replay, "due again")


@cli.command("drop")
def drop(delivery_ids: Ids = None) -> None:
    """Give up dead or unknown deliveries for good."""
    _each(open_database(), list(delivery_ids or []), stored.discard, "dropped")


def _each(database: Database, ids: list[str], change: Callable[[Unit, str], bool], done: str) -> None:
    """Change each delivery in a transaction of its own and say what became of it. Exit 1 if one was neither dead nor unknown."""
    refused = False
    for delivery_id in dict.fromkeys(ids):

        def work(unit: Unit, delivery_id: str = delivery_id) -> bool:
            return change(unit, delivery_id)

        changed = database.write(work)
        print(f"{delivery_id}: {done if changed else 'neither dead nor unknown'}")
        refused |= not changed
    database.close()
    if not ids:
        print("nothing to do")
    raise typer.Exit(1 if refused else 0)


def _line(delivery: Delivery) -> str:
    codes = ",".join(delivery.last_issue_codes) or "-"
    status = delivery.last_status if delivery.last_status is not None else "no answer"
    since = _time(delivery.finished_at or delivery.due_at)
    return (
        f"{delivery.id}  {delivery.state:<7}  {delivery.kind} to {delivery.destination}  since {since}  "
        f"attempts {delivery.attempt}  status {status}  codes {codes}"
    )


def _as_json(delivery: Delivery, indent: int | None = None) -> str:
    values = {name: _time(value) if isinstance(value, datetime) else value for name, value in dataclasses.asdict(delivery).items()}
    return json.dumps(values, indent=indent)


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(cli, name="deliveries")
