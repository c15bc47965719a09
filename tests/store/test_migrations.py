"""The schema's history: what an upgrade makes, on either database, and what it refuses."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import inspect, text
from typer.testing import CliRunner

from gateway.__main__ import make_cli
from gateway.errors import NotFound
from gateway.store import migrations
from gateway.store.migrations import UnknownRevision
from tests.store.actors import keys, put, upgrade_once


def run_command(url, *arguments):
    """`crisis-gateway db …`; its exit code and what it printed."""
    return CliRunner().invoke(make_cli(["db"]), ["db", *arguments], env={"CRISIS_GATEWAY_DATABASE_URL": url})


def set_revision(database, revision):
    database.write(lambda unit: unit.connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'")))


def test_an_empty_database_is_brought_to_exactly_the_tables_of_the_code(empty_url, open_database):
    before = migrations.upgrade(empty_url)
    assert (before.current, before.is_current) == (None, False)
    with open_database(empty_url).read() as unit:
        assert migrations.differences(unit) == []
        assert migrations.state_of(unit).is_current


def test_a_difference_is_seen(empty_url, open_database):
    migrations.upgrade(empty_url)
    database = open_database(empty_url)
    database.write(lambda unit: unit.connection.execute(text("ALTER TABLE epoch ADD COLUMN planted INTEGER")))
    database.write(lambda unit: unit.connection.execute(text("DROP INDEX intake_message_key")))
    with database.read() as unit:
        assert sorted(difference[0] for difference in migrations.differences(unit)) == ["add_index", "remove_column"]


def test_a_database_that_is_there_already_is_left_as_it_is(empty_url, open_database):
    migrations.upgrade(empty_url)
    database = open_database(empty_url)
    database.write(lambda unit: put(unit, "kept"))
    assert migrations.upgrade(empty_url).is_current
    assert keys(database) == ["kept"]


def test_a_revision_only_a_newer_release_knows_is_refused_and_untouched(empty_url, open_database):
    migrations.upgrade(empty_url)
    database = open_database(empty_url)
    set_revision(database, "9999")
    with pytest.raises(UnknownRevision, match="9999"):
        migrations.upgrade(empty_url)
    state = migrations.check(empty_url)
    assert (state.current, state.is_known, state.is_current) == ("9999", False, False)


def test_an_upgrade_that_fails_leaves_nothing_behind(empty_url, open_database, monkeypatch):
    def fail_at_the_end(*arguments):
        upgrade(*arguments)
        raise NotFound

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", fail_at_the_end)
    with pytest.raises(NotFound):
        migrations.upgrade(empty_url)
    with open_database(empty_url).read() as unit:
        assert inspect(unit.connection).get_table_names() == []


def test_two_upgrades_at_once_are_one_after_the_other(empty_url, start, open_database):
    upgrades = [start(upgrade_once, empty_url) for _ in range(2)]
    for each in upgrades:
        assert each.hear() == "ready"
    for each in upgrades:
        each.say("go")
    answers = [each.hear() for each in upgrades]
    head = migrations.check(empty_url).head
    assert set(answers) == {(None, head), (head, head)}
    with open_database(empty_url).read() as unit:
        assert migrations.differences(unit) == []


def test_the_command_upgrades_and_checks(tmp_path):
    url = f"sqlite:///{tmp_path}/gateway.db"
    before, upgraded, after, again = (run_command(url, word) for word in ("check", "upgrade", "check", "upgrade"))
    assert [done.exit_code for done in (before, upgraded, after, again)] == [1, 0, 0, 0]
    assert "run crisis-gateway db upgrade" in before.stderr
    assert upgraded.stdout.startswith("from revision none to ")
    assert again.stdout.startswith("already at revision ")


def test_the_command_says_that_a_database_is_of_a_newer_release(sqlite_url, open_database):
    set_revision(open_database(sqlite_url), "9999")
    for word in ("check", "upgrade"):
        done = run_command(sqlite_url, word)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "9999, which only a newer release knows" in done.stderr


def test_the_command_compiles_permits_anew(sqlite_url):
    assert run_command(sqlite_url, "reindex").stdout == "0 resources judged anew\n"


def test_the_command_refuses_an_address_it_cannot_use_with_words(tmp_path):
    done = run_command("mysql://user:hunter2@host/x", "upgrade")
    assert done.exit_code == 2
    assert "mysql" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_command_says_that_a_server_is_out_of_reach():
    done = run_command("postgresql://nobody@127.0.0.1:1/none", "check")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "the database is out of reach")
