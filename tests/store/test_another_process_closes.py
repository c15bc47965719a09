"""What one process committed stays, whoever else opens the database, writes to it and closes it again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

from sqlalchemy import text

from gateway.store.database import Database
from tests.databases import fresh_sqlite_url

ADD = text("INSERT INTO destination (kind, destination, failures) VALUES ('test', :name, 0)")
COUNT = text("SELECT count(*) FROM destination")
OTHER = """
import sys
from sqlalchemy import text
from gateway.store.database import Database
database = Database(sys.argv[1])
add = text("INSERT INTO destination (kind, destination, failures) VALUES ('test', 'other', 0)")
database.write(lambda unit: unit.connection.execute(add))
database.close()
"""


def rows(url):
    with closing(Database(url)) as database, database.read() as unit:
        return unit.connection.execute(COUNT).scalar_one()


def test_a_commit_after_another_process_closed_the_database_is_still_there(tmp_path):
    url = fresh_sqlite_url(tmp_path)
    with closing(Database(url)) as database:
        with database.read() as unit:  # the reader is open before the writer opens the file
            unit.connection.execute(COUNT)
        database.write(lambda unit: unit.connection.execute(ADD, {"name": "before"}))
        subprocess.run([sys.executable, "-c", OTHER, url], check=True)
        database.write(lambda unit: unit.connection.execute(ADD, {"name": "after"}))
        assert rows_of_a_stranger(url) == 3


def rows_of_a_stranger(url):
    code = "import sys\nfrom tests.store.test_another_process_closes import rows\nprint(rows(sys.argv[1]))"
    return int(subprocess.run([sys.executable, "-c", code, url], check=True, capture_output=True, text=True).stdout)
