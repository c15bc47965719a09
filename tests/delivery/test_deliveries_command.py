"""`crisis-gateway deliveries`: what a person sees of what was given up, and can do about it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from gateway.commands import deliveries
from gateway.store import claims, outbox
from gateway.store import deliveries as stored
from gateway.store.database import Database
from gateway.store.outbox import Result


@pytest.fixture
def cli(database_url, monkeypatch):
    monkeypatch.setattr(deliveries, "open_database", lambda: Database(database_url))
    app = typer.Typer()
    deliveries.register(app)
    return lambda *words: CliRunner().invoke(app, ["deliveries", *words])


@pytest.fixture
def given_up(database):
    """A dead letter to the clinic and an unknown one to another."""

    def make(unit):
        ids = []
        for destination, verdict in (("clinic", "dead"), ("other", "unknown")):
            outbox.enqueue(unit, "deliver", destination, "task-1")
            (row,) = claims.claim(unit, worker="w", limit=1, lease_seconds=60, kinds={"deliver"})
            sending = outbox.begin_sending(unit, row, lease_seconds=60)
            outbox.finish(unit, sending, Result(verdict, may_hold=True, status=422, issue_codes=("value",)))
            ids.append(row.id)
        return ids

    return database.write(make)


def states(database, ids):
    with database.read() as unit:
        return [stored.find_delivery(unit, row).state for row in ids]


def test_list_prints_dead_and_unknown_with_status_and_codes(cli, given_up):
    printed = cli("list").stdout
    assert [line.split()[:2] for line in printed.splitlines()[:2]] == [[given_up[0], "dead"], [given_up[1], "unknown"]]
    assert "status 422  codes value" in printed
    assert "deliver dead" in printed


def test_list_prints_json_lines(cli, given_up):
    rows = [json.loads(line) for line in cli("list", "--json").stdout.splitlines()]
    assert [(row["id"], row["state"], row["last_issue_codes"]) for row in rows] == [
        (given_up[0], "dead", ["value"]),
        (given_up[1], "unknown", ["value"]),
    ]


def test_show_prints_one_and_fails_on_an_unknown_id(cli, given_up):
    assert json.loads(cli("show", given_up[0]).stdout)["destination"] == "clinic"
    assert cli("show", "nothing").exit_code == 1


def test_replay_all_leaves_the_unknown_to_a_person(cli, given_up, database):
    assert cli("replay", "--all").exit_code == 0
    assert states(database, given_up) == ["due", "unknown"]


def test_replay_all_can_be_kept_to_one_destination(cli, given_up, database):
    assert cli("replay", "--all", "--destination", "other").exit_code == 0
    assert states(database, given_up) == ["dead", "unknown"]


def test_an_unknown_one_is_replayed_by_its_id(cli, given_up, database):
    assert cli("replay", given_up[1]).exit_code == 0
    assert states(database, given_up) == ["dead", "due"]


def test_drop_gives_up_for_good_and_says_so_once(cli, given_up, database):
    assert cli("drop", *given_up).exit_code == 0
    assert states(database, given_up) == ["dropped", "dropped"]
    again = cli("drop", given_up[0])
    assert (again.exit_code, "neither dead nor unknown" in again.stdout) == (1, True)
