"""`crisis-gateway demo`: the whole product on this machine, told as a story; nothing of it outlives the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.demo.run import run_demo


def demo(
    once: Annotated[bool, typer.Option("--once", help="Leave after the story instead of staying until Ctrl-C.")] = False,
    save: Annotated[Path | None, typer.Option(help="Folder for stored/<Type>/<id>.json and wire/<nn>-<from>-<to>.http.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the gateway; 8080, or a free one.")] = None,
) -> None:
    """Start gateway, worker and stand-ins, and tell how a referral goes. Exit 1 when a step did not do what it should."""
    raise typer.Exit(run_demo(once=once, save=save, port=port))


def register(parent: typer.Typer) -> None:
    """Add the command."""
    parent.command("demo")(demo)
