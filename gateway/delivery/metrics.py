"""What a machine watches: how the audit log, the outbox and the destinations stand, read from the database when it is asked.

Names no organisation, no policy row and nobody's record. Every worker of one database says the same, so watching one is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.audit.sequencer import lag_seconds
from gateway.errors import Unavailable
from gateway.store import audit_chain, deliveries, destinations
from gateway.store.database import Database, Unit

log = structlog.get_logger(__name__)

PREFIX: Final = "crisis_gateway_"


class Gauges(Collector):
    """The gauges of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing beforehand: to register asks no database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every gauge as it is now; of a database that is out of reach only that."""
        up = GaugeMetricFamily(f"{PREFIX}database_up", "1 when the database answered this reading, else 0.")
        try:
            with self._database.read() as unit:
                found = list(_gauges(unit))
        except Unavailable:
            found = []
        up.add_metric([], 1.0 if found else 0.0)
        yield up
        yield from found


def _gauges(unit: Unit) -> Iterator[GaugeMetricFamily]:
    lag = GaugeMetricFamily(f"{PREFIX}audit_lag_seconds", "For how long the oldest audit row has waited for its place in the chain.")
    lag.add_metric([], lag_seconds(unit))
    yield lag
    waiting = GaugeMetricFamily(f"{PREFIX}audit_waiting_rows", "Audit rows without a place in the chain.")
    waiting.add_metric([], audit_chain.count_unlinked(unit))
    yield waiting
    rows = GaugeMetricFamily(
        f"{PREFIX}outbox_rows",
        "Jobs and deliveries that are not done. dead: given up. unknown: may have arrived. Of both a person must look.",
        labels=["kind", "state"],
    )
    for (kind, state), count in sorted(deliveries.unfinished(unit).items()):
        rows.add_metric([kind, state], count)
    yield rows
    overdue = GaugeMetricFamily(
        f"{PREFIX}outbox_overdue_seconds", "For how long the oldest due row has waited for a worker.", labels=["kind"]
    )
    for kind, due_at in sorted(deliveries.oldest_due(unit).items()):
        overdue.add_metric([kind], (unit.now - due_at).total_seconds())
    yield overdue
    held_off = GaugeMetricFamily(f"{PREFIX}destinations_held_off", "Destinations that are left alone for a while after failed calls.")
    held_off.add_metric([], len(destinations.held_off(unit)))
    yield held_off


def show(database: Database, bind: str) -> None:
    """Answer on an address of its own from now on. One that is taken (by another worker of this machine) is said and left."""
    host, _, port = bind.rpartition(":")
    registry = CollectorRegistry()
    registry.register(Gauges(database))
    try:
        start_http_server(int(port), host.strip("[]"), registry)
    except OSError as fault:
        log.error("metrics not shown", bind=bind, error=fault.strerror)
    else:
        log.info("metrics shown", bind=bind)
