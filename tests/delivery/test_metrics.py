"""What a machine watches: right when it is asked, and nothing of anybody in it."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
import requests
from prometheus_client import CollectorRegistry

from gateway.audit.events import AuditFacts, record
from gateway.audit.sequencer import Claim, sequence_batch
from gateway.delivery import metrics
from gateway.errors import Unavailable
from gateway.settings import Settings, SettingsRefused
from gateway.store import claims, destinations, outbox
from gateway.store.database import Database
from gateway.store.outbox import Result
from tests.commands.shell import free_port


def read(database):
    registry = CollectorRegistry()
    registry.register(metrics.Gauges(database))
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            found[(sample.name.removeprefix(metrics.PREFIX), *sample.labels.values())] = sample.value
    return found


def test_a_gateway_at_rest_has_nothing_waiting(database):
    found = read(database)
    assert found[("database_up",)] == 1
    assert found[("audit_lag_seconds",)] == found[("audit_waiting_rows",)] == found[("destinations_held_off",)] == 0
    assert not [name for name, *_ in found if name.startswith("outbox")]


def test_the_audit_lag_grows_until_the_rows_have_their_place(database):
    database.write(lambda unit: record(unit, AuditFacts("read", "a-client", "an-organization", "TREAT", "a-request")))
    time.sleep(0.02)
    first = read(database)
    time.sleep(0.02)
    assert 0 < first[("audit_lag_seconds",)] < read(database)[("audit_lag_seconds",)]
    assert first[("audit_waiting_rows",)] == 1
    assert database.write(lambda unit: sequence_batch(unit, Claim("a-worker", "a-token"))) == 1
    assert read(database)[("audit_lag_seconds",)] == 0


def test_rows_are_counted_by_what_they_wait_for(database):
    def put(unit):
        for subject in ("one", "two", "three", "four"):
            outbox.enqueue(unit, "deliver", "clinic", subject)
        outbox.enqueue(unit, "close", "gateway", "later", due_at=unit.now + timedelta(days=1))

    database.write(put)
    time.sleep(0.01)

    def end(verdict):
        def work(unit):
            (row,) = claims.claim(unit, worker="w", limit=1, lease_seconds=60, kinds={"deliver"})
            outbox.finish(unit, row, Result(verdict))

        database.write(work)

    for verdict in ("dead", "unknown", "done"):
        end(verdict)
    database.write(lambda unit: destinations.hold_off(unit, "deliver", "clinic", timedelta(hours=1)))
    found = read(database)
    rows = {key[1:]: value for key, value in found.items() if key[0] == "outbox_rows"}
    assert rows == {("deliver", "due"): 1, ("deliver", "dead"): 1, ("deliver", "unknown"): 1, ("close", "due"): 1}
    assert found[("outbox_overdue_seconds", "deliver")] > 0
    assert ("outbox_overdue_seconds", "close") not in found
    assert found[("destinations_held_off",)] == 1


def test_of_a_database_out_of_reach_only_that_is_said(monkeypatch, database):
    def refuse(*_arguments, **_options):
        raise Unavailable

    monkeypatch.setattr(Database, "read", refuse)
    assert read(database) == {("database_up",): 0}


def test_it_is_shown_on_an_address_of_its_own_and_names_nobody(database):
    database.write(lambda unit: outbox.enqueue(unit, "deliver", "northside-clinic", "a-task"))
    bind = f"127.0.0.1:{free_port()}"
    metrics.show(database, bind)
    shown = requests.get(f"http://{bind}/metrics", timeout=5)
    assert shown.status_code == 200
    assert 'crisis_gateway_outbox_rows{kind="deliver",state="due"} 1.0' in shown.text
    assert set(re.findall(r"(\w+)=\"", shown.text)) == {"kind", "state"}
    assert "clinic" not in shown.text
    metrics.show(database, bind)  # taken already: said in the log, and the worker goes on


def test_it_may_not_be_shown_to_the_public():
    environment = {"CRISIS_GATEWAY_BIND": "127.0.0.1:8080", "CRISIS_GATEWAY_METRICS_BIND": "127.0.0.1:8080"}
    with pytest.raises(SettingsRefused, match="METRICS_BIND"):
        Settings.from_environment(environment)
