"""Where there is no database the commands say so and make none; a worker whose database broke leaves."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import pytest

from gateway.store import deliveries, outbox
from gateway.store.database import Database, NoDatabase, require_existing

ADVICE = "no database yet: run crisis-gateway db upgrade"


@pytest.mark.parametrize(
    "command",
    [
        ("doctor",),
        ("db", "check"),
        ("db", "reindex"),
        ("parties", "show"),
        ("client", "list"),
        ("deliveries", "list"),
        ("ledger", "verify"),
        ("serve",),
        ("worker", "--once"),
    ],
    ids=" ".join,
)
def test_a_command_makes_no_database(shell, command):
    shell.more = {"CRISIS_GATEWAY_DATABASE_URL": "", "CRISIS_GATEWAY_KEYS": ""}  # both by their defaults, in this folder
    done = shell.run(*command)
    assert done.returncode == 1
    assert ADVICE in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(shell.folder.iterdir()) == []


def test_a_server_or_a_file_that_is_there_is_not_refused(tmp_path):
    require_existing("postgresql://nobody@nowhere.example/none")
    with pytest.raises(NoDatabase):
        require_existing(f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "some.db").touch()
    require_existing(f"sqlite:///{tmp_path}/some.db")


def test_a_worker_that_can_write_no_more_ends_so_that_another_is_started(shell):
    assert shell.run("db", "upgrade").returncode == 0
    log = shell.folder / "worker.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "worker"], cwd=shell.folder, env=shell.environment, stdout=said, stderr=said
        )
    try:
        file = shell.folder / "gateway.db"
        done_a_job(shell.environment["CRISIS_GATEWAY_DATABASE_URL"])
        # what a COMMIT that failed leads to is led to by a file that was replaced: this process must write no more
        shutil.copyfile(file, file.with_suffix(".copy"))
        with_work = Database(shell.environment["CRISIS_GATEWAY_DATABASE_URL"])
        enqueue(with_work, "second")
        file.with_suffix(".copy").replace(file)
        assert process.wait(20) == 1, log.read_text()
        with_work.close()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert "database broken" in log.read_text()
    assert "Traceback" not in log.read_text()


def enqueue(database, subject):
    """A job that finds nothing to do."""
    database.write(lambda unit: outbox.enqueue(unit, "offer", "gateway", subject))


def done_a_job(url):
    """Wait until the worker has written once, and so has the file open."""
    database = Database(url)
    enqueue(database, "first")
    until = time.monotonic() + 15
    while time.monotonic() < until:
        with database.read() as unit:
            if not any(state == "due" for _, state in deliveries.counts(unit)):
                database.close()
                return
        time.sleep(0.05)
    raise AssertionError("the worker does not work")
