"""Runs cases on one database: a site is opened for the first that needs it, shared by those that follow, and left after a failure."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tests.faults import checks
from tests.faults.case import Case
from tests.faults.disk import small_disk
from tests.faults.evidence import Evidence, gather, unfinished, unlinked
from tests.faults.people import Heard, People
from tests.faults.report import Row
from tests.faults.scene import DidNotHappen, Scene
from tests.faults.site import Plan, Site, open_site, wait_until
from tests.peers.postgres import Server, own_server

DRAIN_SECONDS = 60.0
REST_SECONDS = 0.6


class Runner:
    """One database, one seed. keep: leave databases and logs behind. short: measured loads are short, and no wait is judged.

    Use it as a context manager."""

    def __init__(self, database: str, seed: int, *, keep: bool = False, short: bool = False) -> None:
        self.database, self.seed, self.keep, self.short = database, seed, keep, short
        self.folder = Path(tempfile.mkdtemp(prefix="crisis-faults-"))
        self.folder.chmod(0o711)
        self._server_stack, self._site_stack = ExitStack(), ExitStack()
        self._server: Server | None = None
        self._site: Site | None = None
        self._heard = Heard()
        self._sites = 0

    def __enter__(self) -> Self:
        if self.database == "postgresql":
            self._server = self._server_stack.enter_context(own_server())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()
        self._server_stack.close()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, case: Case) -> Row:
        """One case to its row."""
        row, began = Row(case.name, self.database), time.monotonic()
        try:
            site = self._site_for(case.plan)
            before = len(self._heard.acknowledged)
            scene = self._play(site, case, row)
            row.acknowledged, row.killed = len(self._heard.acknowledged) - before, scene.killed
            found = gather(site, self._heard)
            found.same_clock = case.same_clock
            row.verdicts = {"case": scene.faults, **judge(found)}
            row.said = ", ".join(scene.said)
        except TimeoutError as late:
            row.happened, row.said = False, str(late)
        row.seconds = time.monotonic() - began
        if not row.ok or case.spoils:
            self._leave()
        return row

    def _play(self, site: Site, case: Case, row: Row) -> Scene:
        drawn = random.Random(f"{self.seed} {case.name}")
        people = People(
            site,
            self._heard,
            zlib.crc32(f"{self.seed}".encode()),
            senders=case.senders,
            pause_seconds=case.pause_seconds,
            twice=case.twice,
            backlog=case.backlog,
            readers=case.readers,
        )
        scene = Scene(site, people, drawn)
        if self.short:
            scene.load_seconds, scene.longest_wait_ms = 2.0, float("inf")  # a busy machine makes everybody wait
        with people:
            try:
                case.act(scene)
                row.happened = True
            except DidNotHappen as missing:  # what came instead is looked at as well
                scene.said.append(str(missing))
            scene.restore()
            people.stop_sending()
            _drain(lambda: unfinished(site))
        _drain(lambda: unfinished(site) + unlinked(site))  # only now that nobody reads any more
        return scene

    def _site_for(self, plan: Plan) -> Site:
        if self._site is not None and self._site.plan == plan:
            return self._site
        self._leave()
        self._sites += 1
        folder = self.folder / f"site-{self._sites}"
        folder.mkdir()
        disk = self._site_stack.enter_context(small_disk(folder / "disk")) if plan.small_disk else None
        url = f"sqlite:///{(disk.folder if disk else folder) / 'gateway.db'}"
        if self._server is not None:
            url = _new_database(self._server.url, f"site_{self._sites}")
        self._heard = Heard()
        self._site = self._site_stack.enter_context(open_site(folder, plan, disk, url, self._server))
        return self._site

    def _leave(self) -> None:
        self._site = None
        self._site_stack.close()


def _new_database(server_url: str, name: str) -> str:
    """The URL of an empty database; it goes with its server."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{server_url.rpartition('/')[0]}/{name}"


def judge(found: Evidence) -> dict[str, list[str]]:
    """What every check says."""
    return {name: check(found) for name, check in checks.CHECKS.items()}


def _drain(left: Callable[[], int]) -> None:
    """Until nothing is left to do, and still is not a moment later."""
    until = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < until:
        wait_until("all work is done", lambda: left() == 0, max(1.0, until - time.monotonic()))
        time.sleep(REST_SECONDS)
        if left() == 0:
            return
    raise TimeoutError(f"{left()} things are not done after {DRAIN_SECONDS:.0f} s")
