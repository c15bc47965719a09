"""`crisis-gateway worker`: makes offers, watches deadlines and delivers, as a process of its own; start as many as needed."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.app import make_services
from gateway.commands.database import require_ready
from gateway.delivery.worker import Worker
from gateway.referral.jobs import JOBS, PREPARATIONS
from gateway.services import Services


def make_worker(services: Services) -> Worker:
    """The worker of this release: every job and every channel. Call it after a fork, never before."""
    return Worker(services, jobs=JOBS, preparations=PREPARATIONS)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and what that makes due, then stop.")] = False,
) -> None:
    """Work off the outbox until SIGTERM; what is under way then is brought to its end."""
    services = make_services(require_ready())
    try:
        if not once:
            make_worker(services).run_forever()
            return
        working, total = make_worker(services), 0
        while done := working.run_once():
            total += done
        print(f"{total} done")
    finally:
        services.database.close()


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("worker")(worker)
