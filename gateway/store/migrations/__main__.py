"""For developers: `python -m gateway.store.migrations new "what changes"` writes the next revision from the tables of the code.

It is compared with a database at the newest revision (a temporary SQLite file). `first` writes revision 0001 anew; that may be
done until the first release, and never after.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from gateway.store.database import Database
from gateway.store.migrations import FOLDER, configuration, state_of, upgrade

VERSIONS = FOLDER / "versions"


def write_revision(message: str) -> Path:
    """Write the next revision and return its file."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/newest.db"
        if any(VERSIONS.glob("*.py")):
            upgrade(url)
        database = Database(url)
        try:
            return database.write(lambda unit: _autogenerate(unit, message))
        finally:
            database.close()


def _autogenerate(unit, message: str) -> Path:  # type: ignore[no-untyped-def]
    number = f"{int(state_of(unit).head or 0) + 1:04}"
    made = command.revision(configuration(unit.connection), message, autogenerate=True, rev_id=number)
    file = Path(made.path)  # type: ignore[union-attr]
    lines = [line for line in file.read_text().splitlines(keepends=True) if "### " not in line]
    file.write_text("".join(lines))
    return file


def main(arguments: list[str]) -> int:
    """Run the command; 2 when it is not understood."""
    if arguments[:1] == ["first"]:
        for file in VERSIONS.glob("*.py"):
            file.unlink()
        made = write_revision("The first schema")
    elif len(arguments) == 2 and arguments[0] == "new":
        made = write_revision(arguments[1])
    else:
        sys.stderr.write(__doc__ or "")
        return 2
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
