"""`crisis-gateway doctor`: every setting and whether what stands behind it works. Prints no secret and makes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Final

import typer

from gateway.errors import Unavailable
from gateway.keys import KeyRing, KeyRingBroken
from gateway.settings import Settings, SettingsRefused, described, variable
from gateway.store import migrations
from gateway.store.database import DatabaseUrlRefused, NoDatabase, require_existing
from gateway.store.filesystem import NetworkFileSystem

GOOD: Final = "ok"


def doctor() -> None:
    """Print each setting with its value, then what was found wrong. Exit 1 when something is."""
    secret = {variable(known.name) for known in fields(Settings) if known.metadata["secret"]}
    for name, default, about in described():
        given = os.environ.get(name)
        shown = "(set, not shown)" if given and name in secret else given or default or "(none)"
        print(f"{name:<46} {shown}\n{'':<46} {about}")
    print()
    failed = False
    for what, found in _findings():
        failed |= found != GOOD
        print(f"{what:<12} {found}")
    raise typer.Exit(1 if failed else 0)


def _findings() -> Iterator[tuple[str, str]]:
    try:
        settings = Settings.from_environment()
    except SettingsRefused as refused:
        yield from (("settings", fault) for fault in refused.faults)
        return
    yield "settings", GOOD
    yield "database", _database(settings)
    yield "keys", _keys(settings)


def _database(settings: Settings) -> str:
    try:
        require_existing(settings.database_url)
        state = migrations.check(settings.database_url)
    except DatabaseUrlRefused as refused:
        return f"{variable('database_url')} {refused}"
    except (NoDatabase, NetworkFileSystem) as refused:
        return str(refused)
    except Unavailable:
        return "out of reach"
    return GOOD if state.is_current else state.advice


def _keys(settings: Settings) -> str:
    if not settings.keys.exists():
        return GOOD  # they are made at first start
    try:
        KeyRing(settings.keys)
    except KeyRingBroken as broken:
        return str(broken)
    return GOOD


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("doctor")(doctor)
