"""Other processes at the same database: what each does, as functions a new process can be told to run.

They are started from a server process that has imported the store already (`forkserver`), so a dozen of them cost no second.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from contextlib import closing, contextmanager, suppress

from sqlalchemy import func, insert, select

from gateway.errors import Unavailable
from gateway.store import migrations, sqlite_writer
from gateway.store.database import Database
from gateway.store.ids import new_id
from gateway.store.messages import IntakeMessageRow

MESSAGE = IntakeMessageRow.__table__
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
DEADLINE_SECONDS = 60


class Actor:
    """One process. `say` and `hear` are its side of a pipe."""

    def __init__(self, act, *args):
        self._pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=act, args=(theirs, *args), daemon=True)
        self.process.start()
        theirs.close()

    def hear(self, seconds=DEADLINE_SECONDS):
        assert self._pipe.poll(seconds), "the other process says nothing"
        return self._pipe.recv()

    def say(self, word):
        self._pipe.send(word)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.join(DEADLINE_SECONDS)

    def end(self):
        if self.process.is_alive():
            with suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
            self.process.kill()
        self.process.join(DEADLINE_SECONDS)
        self._pipe.close()


def put(unit, key, body="{}"):
    """One row, by itself enough to count."""
    unit.connection.execute(
        insert(MESSAGE).values(
            id=new_id(), organization="o", format="f", message_key=key, revision=1, content_sha256="", body=body,
            received_at=unit.now, client="c", referral=None, kept=True, cuts=[],
        )
    )  # fmt: skip
    return unit.now


def keys(database):
    """Every key that is kept, sorted."""
    with database.read() as unit:
        return sorted(unit.connection.execute(select(MESSAGE.c.message_key)).scalars())


def write_many(pipe, url, name, count, threads):
    """Write `count` rows from several threads; says what it was told is kept, each stamp, each wait, and each failure's name."""
    with closing(Database(url, lock_seconds=10)) as database:
        pipe.send("ready")
        pipe.recv()
        told, stamps, waits, failures = [], [], [], []

        def write(numbers):
            for number in numbers:
                key, began = f"{name}-{number}", time.monotonic()
                try:
                    stamps.append(database.write(lambda unit, key=key: put(unit, key)))
                    told.append(key)
                except Exception as failure:  # noqa: BLE001 (whatever it is, the test is told)
                    failures.append(repr(failure))
                waits.append(time.monotonic() - began)

        running = [threading.Thread(target=write, args=(range(place, count, threads),)) for place in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        pipe.send({"told": told, "stamps": stamps, "waits": waits, "failures": failures})


def read_on(pipe, url):
    """Read until told to stop; says how often, and each failure's name."""
    with closing(Database(url)) as database:
        pipe.send("ready")
        counts, failures = [], []
        while not pipe.poll(0.001):
            try:
                with database.read() as unit:
                    counts.append(unit.connection.execute(select(func.count()).select_from(MESSAGE)).scalar_one())
            except Exception as failure:  # noqa: BLE001 (whatever it is, the test is told)
                failures.append(repr(failure))
        pipe.send({"counts": counts, "failures": failures})


def hold_the_lock(pipe, url, kept, unkept):
    """Keep some rows, then say "holding" inside the write section with others written and not committed, and wait there."""
    with closing(Database(url)) as database:
        for key in kept:
            database.write(lambda unit, key=key: put(unit, key))

        def work(unit):
            for key in unkept:
                put(unit, key)
            pipe.send("holding")
            return pipe.recv()

        pipe.send(database.write(work))


def write_for_ever(pipe, url, name, threads):
    """Write from several threads, saying each key once it is kept, until killed."""
    database, saying = Database(url), threading.Lock()

    def write(place):
        number = place
        while True:
            key = f"{name}-{number}"
            with suppress(Unavailable):
                database.write(lambda unit, key=key: put(unit, key))
                with saying:
                    pipe.send(key)
            number += threads

    for place in range(threads):
        threading.Thread(target=write, args=(place,)).start()


def write_together(database, works):
    """Have works run as one group and return what each came to: its result, or its failure."""
    outcomes, begun = [None] * (len(works) + 1), threading.Event()

    def ask(place, work):
        try:
            outcomes[place] = database.write(work)
        except Exception as failure:  # noqa: BLE001 (whatever it is, the test is told)
            outcomes[place] = failure

    def wait_for_the_others(unit):
        begun.set()
        while len(database._store._writer._waiting) < len(works):
            time.sleep(0.001)

    threads = [threading.Thread(target=ask, args=(0, wait_for_the_others))]
    threads[0].start()
    begun.wait()
    for place, work in enumerate(works, 1):
        threads.append(threading.Thread(target=ask, args=(place, work)))
        threads[-1].start()
        while place < len(works) and len(database._store._writer._waiting) < place:
            time.sleep(0.001)  # they are run in the order in which they asked
    for thread in threads:
        thread.join()
    return outcomes[1:]


def upgrade_once(pipe, url):
    """Upgrade a database when told; says (revision before, revision known to be the newest), or the failure."""
    pipe.send("ready")
    pipe.recv()
    try:
        before = migrations.upgrade(url)
    except Exception as failure:  # noqa: BLE001 (whatever it is, the test is told)
        pipe.send(repr(failure))
    else:
        pipe.send((before.current, before.head))


def lose_a_commit(pipe, url):
    """Let COMMIT fail by a real limit on the size of files, and say what came of it; then without the limit again."""
    sqlite_writer.GROUP_SECONDS = 30
    heard = []
    database = Database(url, lock_seconds=10, on_broken=lambda: heard.append("broken"))
    database.write(lambda unit: put(unit, "before"))
    works = [lambda unit, key=key: put(unit, key, "x" * 50_000) for key in "abc"]
    limit = lambda unit: resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))  # noqa: E731
    lost = [type(outcome).__name__ for outcome in write_together(database, [*works, limit])]
    ready = database.ready()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        later = database.write(lambda unit: put(unit, "later"))
    except Unavailable as failure:
        later = type(failure).__name__
    while not heard:
        time.sleep(0.001)
    pipe.send({"lost": lost, "later": later, "heard": heard, "ready": [ready, database.ready()]})


def fork_while_busy(pipe, url):
    """Fork while threads read and write, then close; the child writes before and after that. Says the child's exit code."""
    database, stop = Database(url), threading.Event()

    def be_busy(place):
        for number in itertools.count():
            if stop.is_set():
                return
            database.write(lambda unit, key=f"busy-{place}-{number}": put(unit, key))
            keys(database)

    busy = [threading.Thread(target=be_busy, args=(place,)) for place in range(3)]
    for thread in busy:
        thread.start()
    time.sleep(0.05)
    begun, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with ends_here():
            database.write(lambda unit: put(unit, "child-1"))
            os.write(begun[1], b"1")
            os.read(go_on[0], 1)
            database.write(lambda unit: put(unit, "child-2"))
            assert "child-1" in keys(database)
    os.read(begun[0], 1)
    database.write(lambda unit: put(unit, "parent"))
    stop.set()
    for thread in busy:
        thread.join()
    database.close()
    with closing(Database(url)) as opened_anew:
        opened_anew.write(lambda unit: put(unit, "third"))
    os.write(go_on[1], b"1")
    pipe.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_with_open_connections(pipe, url):
    """Fork with connections in the pool; both sides write and read on. Says the child's exit code."""
    database = Database(url)
    database.write(lambda unit: put(unit, "before"))
    keys(database)
    child = os.fork()
    if child == 0:
        with ends_here():
            for number in range(20):
                database.write(lambda unit, number=number: put(unit, f"child-{number}"))
                keys(database)
    for number in range(20):
        database.write(lambda unit, number=number: put(unit, f"parent-{number}"))
        keys(database)
    pipe.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_in_a_read(pipe, url):
    """Fork with a snapshot open, which cannot be closed; says whether the child refused, and whether the parent goes on."""
    database = Database(url, lock_seconds=0.2)
    with database.read():
        child = os.fork()
        if child == 0:
            with ends_here():
                refused = []
                for ask in (lambda: keys(database), lambda: database.write(lambda unit: put(unit, "child"))):
                    try:
                        ask()
                    except Unavailable:
                        refused.append(ask)
                assert len(refused) == 2
                assert not database.ready()
    database.write(lambda unit: put(unit, "parent"))
    pipe.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def die_with_the_lock_and_leave_a_child(pipe, url):
    """Fork a child that lives on, say its process id, then "holding" from inside the write section."""
    database = Database(url)
    database.write(lambda unit: put(unit, "before"))
    child = os.fork()
    if child == 0:
        with ends_here():
            time.sleep(DEADLINE_SECONDS)
    pipe.send(child)
    database.write(lambda unit: (put(unit, "held"), pipe.send("holding"), pipe.recv()))


@contextmanager
def ends_here():
    """In a forked child: nothing of the parent's program runs after this, and the exit code says how it went."""
    try:
        yield
    except BaseException:  # noqa: BLE001 (a forked child must end here, whatever it is)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
