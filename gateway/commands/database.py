"""The database of the settings, for commands. It is checked first: a command never works on a schema it does not know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from gateway.settings import Settings, SettingsRefused
from gateway.store.database import Database, DatabaseUrlRefused, NoDatabase, require_existing, require_url
from gateway.store.filesystem import NetworkFileSystem


@contextmanager
def telling_refusals() -> Iterator[None]:
    """End the command with one message and exit code 2 when settings or the place of the database are refused."""
    try:
        yield
    except (SettingsRefused, NetworkFileSystem) as refused:
        print(refused, file=sys.stderr)
        raise typer.Exit(2) from None
    except DatabaseUrlRefused as refused:
        print(f"settings: CRISIS_GATEWAY_DATABASE_URL {refused}", file=sys.stderr)
        raise typer.Exit(2) from None


def read_settings() -> Settings:
    """The settings of the environment, or the end of the command."""
    with telling_refusals():
        settings = Settings.from_environment()
        require_url(settings.database_url)
    return settings


def open_database() -> Database:
    """The migrated database of the settings, or the end of the command; where there is none, none is made."""
    settings = read_settings()
    try:
        require_existing(settings.database_url)
    except NoDatabase as refused:
        print(refused, file=sys.stderr)
        raise typer.Exit(1) from None
    with telling_refusals():
        database = Database(settings.database_url, lock_seconds=settings.lock_seconds)
        require_current(database)
    return database


def require_ready() -> Settings:
    """The settings of a process that is about to serve or work, with its database at the newest revision; or the end of the command."""
    settings = read_settings()
    open_database().close()
    return settings


def require_current(database: Database) -> None:
    """End the command with exit code 1 unless the database is at the newest revision."""
    from gateway.errors import Unavailable
    from gateway.store.migrations import state_of

    try:
        with database.read() as unit:
            state = state_of(unit)
    except Unavailable:
        print("the database is out of reach", file=sys.stderr)
        raise typer.Exit(1) from None
    if not state.is_current:
        print(state.advice, file=sys.stderr)
        raise typer.Exit(1)
