"""`crisis-gateway`: every command is one call into the layers below. Only the module of the command that was asked for is read."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Final

import structlog
import typer

COMMANDS: Final = {
    "audit": "audit",
    "client": "clients",
    "db": "db",
    "deliveries": "deliveries",
    "demo": "demo",
    "doctor": "doctor",
    "ledger": "ledger",
    "map": "map",
    "parties": "parties",
    "serve": "serve",
    "token": "token",
    "validate": "validate",
    "worker": "worker",
}
"""Command → module of gateway.commands. Reading all of them costs a second that `token` or `map` need not wait for."""


def make_cli(commands: Sequence[str]) -> typer.Typer:
    """The command line with these commands."""
    cli = typer.Typer(
        name="crisis-gateway",
        help="FHIR R4 gateway that carries a crisis referral between law enforcement, 911, 988 and community providers.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    cli.callback()(_no_option)  # a single command would else become the whole program
    for name in commands:
        importlib.import_module(f"gateway.commands.{COMMANDS[name]}").register(cli)
    return cli


def _no_option() -> None:
    """FHIR R4 gateway that carries a crisis referral between law enforcement, 911, 988 and community providers."""


def configure_logging() -> None:
    """Log JSON lines to standard error: what a command prints on standard output is for whoever asked for it."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    configure_logging()
    wanted = next((argument for argument in given if not argument.startswith("-")), None)
    commands = [wanted] if wanted in COMMANDS else sorted(COMMANDS)
    make_cli(commands)(given, prog_name="crisis-gateway")


if __name__ == "__main__":
    main()
