# ruff: noqa: PLR0915 (a list of statements, however long)
"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; it is never changed back, a mistake gets a revision of its own."""
    ${upgrades if upgrades else "pass"}
