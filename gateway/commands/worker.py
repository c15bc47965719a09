"""`crisis-gateway worker`: makes offers, watches deadlines and delivers, as a process of its own; start as many as needed.

A worker that must write no more (a COMMIT failed) ends with exit code 1: its supervisor starts another one.
"""

from __future__ import annotations

import sys
import threading
from typing import Annotated

import typer

from gateway.app import make_services, settle
from gateway.commands.database import require_ready
from gateway.delivery import metrics
from gateway.delivery.worker import Worker
from gateway.errors import Unavailable
from gateway.referral.jobs import JOBS, PREPARATIONS
from gateway.services import Services


def make_worker(services: Services) -> Worker:
    """The worker of this release: every job and every channel. Call it after a fork, never before."""
    return Worker(services, jobs=JOBS, preparations=PREPARATIONS)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and what that makes due, then stop.")] = False,
) -> None:
    """Work off the outbox until SIGTERM; what is under way then is brought to its end. Exit 1 when nothing could be written any more."""
    services = make_services(require_ready())
    working, broken = make_worker(services), threading.Event()

    def leave() -> None:
        broken.set()
        working.stop()

    services.database.on_broken = leave
    settle()
    if services.settings.metrics_bind is not None and not once:
        metrics.show(services.database, services.settings.metrics_bind)
    try:
        if once:
            print(f"{_work_off(working)} done")
        else:
            working.run_forever()
    except Unavailable:
        print("the database is out of reach", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        services.database.close()
    if broken.is_set():
        raise typer.Exit(1)


def _work_off(working: Worker) -> int:
    total = 0
    while done := working.run_once():
        total += done
    working.finish_sequencing()
    return total


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("worker")(worker)
