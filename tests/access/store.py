"""A fresh database, and parties that need no registration, for tests below HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from gateway.access.records import facts, permits
from gateway.store import registry
from gateway.store.database import Database, Unit
from gateway.store.registry import Organization


def fresh_database(folder: Path) -> Database:
    """A SQLite database with every table of the store."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Database(f"sqlite:///{folder / 'gateway.db'}")
    made.write(lambda unit: SQLModel.metadata.create_all(unit.connection))
    return made


def register(monkeypatch: pytest.MonkeyPatch, parties: Mapping[str, tuple[str, ...]], purposes: frozenset[str]) -> None:
    """Let the registry answer with these parties: key → postures, all with the same purposes."""
    known = {
        key: Organization(key=key, name=key.title(), postures=frozenset(postures), services=(), channel=None)
        for key, postures in parties.items()
    }

    def find(_unit: Unit, key: str) -> Organization | None:
        return known.get(key)

    monkeypatch.setattr(registry, "find_organization", find)
    monkeypatch.setattr(facts, "find_organization", find)
    monkeypatch.setattr(permits, "organization_purposes", lambda _unit, _key: purposes)
