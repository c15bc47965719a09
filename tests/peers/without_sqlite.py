"""A plugin for the suites on PostgreSQL: leaves out what asks for SQLite by name, since `make test` has run that."""

from __future__ import annotations


def pytest_collection_modifyitems(config, items):
    kept, left = [], []
    for item in items:
        asked = getattr(item, "callspec", None)
        (left if "sqlite_url" in item.fixturenames or (asked and "sqlite" in asked.params.values()) else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
