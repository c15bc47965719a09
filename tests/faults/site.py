"""A whole gateway to break: its real processes, a stand-in EHR and RMS, a sender's and a receiver's system, on a fresh database."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import make_url

from conformance.exchange import Http
from conformance.keys import make_keys
from conformance.standins.client import SmartClient
from conformance.standins.receiver import Receiver
from gateway.commands.parties import apply_parties
from gateway.store.database import Database
from gateway.store.migrations import upgrade
from tests.faults.disk import SmallDisk
from tests.faults.processes import Processes
from tests.faults.room import Fired, Room
from tests.peers.machine import REPOSITORY, free_port, outside_environment
from tests.peers.postgres import Server

START_SECONDS: Final = 60.0
CALL_SECONDS: Final = 5.0
LOCK_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 6.0
PEER_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.1
"""Times are compressed by the settings an operator has: 30 s become 0.1 s, so that an hour is twelve."""
HOUR_SECONDS: Final = 3600 * RETRY_SECONDS / 30

POLICE, HOSPITAL, CLINIC, SECOND = "riverton-police", "mercy-hospital", "alder-case-management", "birch-case-management"
POLICE_RMS, HOSPITAL_RMS, EHR = "riverton-rms", "mercy-rms", "alder-ehr"
INTAKE: Final = "__gateway.intake.rms-diversion"
EHR_SCOPE: Final = "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/Encounter.rs"

PARTIES: Final = """
[organization.riverton-police]
name = "Riverton Police Department"
postures = ["criminal_justice_agency"]

[organization.mercy-hospital]
name = "Mercy Hospital"
postures = ["covered_entity"]

[organization.alder-case-management]
name = "Alder Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]
channel = {{ kind = "fhir-rest", address = "http://127.0.0.1:{ehr}/fhir" }}

[organization.birch-case-management]
name = "Birch Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]

[client.riverton-rms]
organization = "riverton-police"
jwks = "riverton-rms/jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]

[client.mercy-rms]
organization = "mercy-hospital"
jwks = "mercy-rms/jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]
callback = {{ address = "http://127.0.0.1:{rms}/diversion-status" }}

[client.alder-ehr]
organization = "alder-case-management"
jwks = "alder-ehr/jwks.json"
scopes = "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/Encounter.rs"
purposes = ["TREAT"]
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a site is built. honours: whether the EHR knows ifNoneExist. settings: of the gateway, beside the compressed times.

    waits: whether waits for the write section are measured. small_disk: whether the database lies on a disk of its own.
    """

    honours: bool = True
    processes: int = 2
    settings: tuple[tuple[str, str], ...] = ()
    waits: bool = False
    small_disk: bool = False


@dataclass(slots=True)
class Site:
    """One running gateway and everybody around it. server: of PostgreSQL; None on SQLite. disk: where the plan asks for a small one."""

    plan: Plan
    folder: Path
    disk: SmallDisk | None
    database_url: str
    server: Server | None
    ports: Mapping[str, int]
    processes: Processes
    database: Database
    rooms: Mapping[str, Room]
    environment: Mapping[str, str] = field(repr=False)
    workers: int = 0

    @property
    def dialect(self) -> str:
        """Of its database."""
        return self.database.dialect

    def write_section_comes_free(self, seconds: float = 1.0) -> bool:
        """Whether a SQLite database's write lock can be had within a moment; PostgreSQL has none."""
        if self.dialect != "sqlite":
            return True
        lock = Path(f"{make_url(self.database_url).database}.lock")
        until = time.monotonic() + seconds
        with lock.open("r+b") as file:
            while time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True  # and closing the file lets it go
                time.sleep(0.01)
        return False

    @property
    def base_url(self) -> str:
        """Of the gateway."""
        return f"http://127.0.0.1:{self.ports['gateway']}"

    def client(self, client_id: str, seconds: float = CALL_SECONDS) -> SmartClient:
        """A registered system that speaks to the gateway."""
        scope = EHR_SCOPE if client_id == EHR else INTAKE
        http = Http(client_id, "gateway", timeout_seconds=seconds)
        return SmartClient(self.base_url, client_id, make_keys(self.folder / client_id), scope, http)

    def receiver(self) -> Receiver:
        """The clinic's own hands at the gateway."""
        return Receiver(self.client(EHR))

    def start_server(self) -> None:
        """Start the gateway's server processes."""
        self.processes.keep("server", "tests.faults.launch", "serve", environment=self._launched("server"))

    def start_worker(self) -> str:
        """Start one more worker and return its name."""
        self.workers += 1
        name = f"worker-{self.workers}"
        self.processes.keep(name, "tests.faults.launch", "worker", environment=self._launched("worker"))
        return name

    def start_stand_in(self, kind: str, client_id: str) -> None:
        """Start the EHR or the RMS."""
        options = ["--port", str(self.ports[client_id]), "--state", str(self.folder / client_id), "--gateway", self.base_url]
        options += ["--client-id", client_id, "--scope", EHR_SCOPE if kind == "ehr" else INTAKE]
        if kind == "ehr" and not self.plan.honours:
            options.append("--no-conditional-create")
        self.processes.keep(client_id, "conformance", "standin", kind, *options, environment=self.environment)

    def _launched(self, process: str) -> dict[str, str]:
        more = {"FAULTS_ROOM": str(self.rooms[process].folder), "FAULTS_CLOCK": str(self.clock(process))}
        if self.plan.waits:
            more["FAULTS_WAITS"] = str(self.folder / "waits")
        return {**self.environment, **more}

    def clock(self, process: str) -> Path:
        """The file that says by how many seconds the clock of server or worker is wrong."""
        return self.folder / f"clock-{process}"

    def fired(self) -> list[Fired]:
        """Every fault that struck."""
        return [fired for room in self.rooms.values() for fired in room.fired()]

    def ready(self) -> bool:
        """Whether the gateway takes requests."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{self.base_url}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def behave(self, client_id: str, **behaviour: Any) -> None:
        """Tell a stand-in how to misbehave."""
        answer = self._control("POST", client_id, "", json={"behaviour": behaviour})
        assert answer.status_code == 200, answer.text

    def state(self, client_id: str) -> dict[str, Any]:
        """What a stand-in holds."""
        held: dict[str, Any] = self._control("GET", client_id, "/state").json()
        return held

    def _control(self, method: str, client_id: str, path: str, **more: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"http://127.0.0.1:{self.ports[client_id]}/control{path}", timeout=20, **more)

    def requests_log(self, client_id: str) -> Path:
        """The raw log of a stand-in."""
        return self.folder / client_id / "requests.jsonl"

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the gateway to its end: exit code and what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr[-1000:]


def wait_until(what: str, look: Callable[[], object], seconds: float = START_SECONDS) -> None:
    """Ask again until it is so. Raises TimeoutError that says what was waited for."""
    until = time.monotonic() + seconds
    while not look():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether somebody answers there."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.get(f"http://127.0.0.1:{port}/nothing", timeout=2)
            return True
    except requests.RequestException:
        return False


def _environment(folder: Path, url: str, port: int, plan: Plan) -> dict[str, str]:
    settings = {
        "database_url": url,
        "base_url": f"http://127.0.0.1:{port}",
        "bind": f"127.0.0.1:{port}",
        "keys": str(folder / "keys"),
        "allow_private_addresses": "true",
        "processes": str(plan.processes),
        "threads": "6",
        "lock_seconds": str(LOCK_SECONDS),
        "graceful_seconds": "5",
        "client_requests_per_second": "0",
        "unknown_requests_per_second": "0",
        "retry_first_seconds": str(RETRY_SECONDS),
        "retry_cap_seconds": "2",
        "circuit_first_seconds": str(RETRY_SECONDS),
        "circuit_cap_seconds": "1",
        "call_seconds": str(PEER_SECONDS),
        "lease_seconds": str(LEASE_SECONDS),
        **dict(plan.settings),
    }
    ours = {f"CRISIS_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return outside_environment(PYTHONPATH=path, **ours)


@contextmanager
def open_site(folder: Path, plan: Plan, disk: SmallDisk | None, database_url: str, server: Server | None) -> Iterator[Site]:
    """Start everything; it is stopped again afterwards. database_url: of an empty database."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in ("gateway", EHR, HOSPITAL_RMS)}
    for client_id in (POLICE_RMS, HOSPITAL_RMS, EHR):
        make_keys(folder / client_id)
    (folder / "waits").mkdir(exist_ok=True)
    upgrade(database_url)
    database = Database(database_url, lock_seconds=10)
    (folder / "parties.toml").write_text(PARTIES.format(ehr=ports[EHR], rms=ports[HOSPITAL_RMS]), encoding="utf-8")
    apply_parties(database, folder / "parties.toml", allow_private=True)
    environment = _environment(folder, database_url, ports["gateway"], plan)
    rooms = {name: Room(folder / f"room-{name}") for name in ("server", "worker")}
    site = Site(plan, folder, disk, database_url, server, ports, Processes(folder), database, rooms, environment)
    try:
        site.start_stand_in("ehr", EHR)
        site.start_stand_in("rms", HOSPITAL_RMS)
        site.start_server()
        site.start_worker()
        wait_until("the gateway answers", site.ready)
        for stand_in in (EHR, HOSPITAL_RMS):
            wait_until(f"{stand_in} answers", lambda name=stand_in: listens(ports[name]))
        yield site
    finally:
        site.processes.stop_all()
        database.close()
