"""The systems of the demo: gateway, worker, two senders' systems and three EHRs, each a process, reached as their users reach them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import requests

from gateway.audit.events import audit_rows
from gateway.demo import people
from gateway.demo.failing import DemoFailed
from gateway.demo.processes import Processes, free_port
from gateway.store import referrals
from gateway.store.audit import AuditRow
from gateway.store.database import Database

START_SECONDS: Final = 20.0
WAIT_SECONDS: Final = 15.0
CALL_SECONDS: Final = 20.0
USUAL_PORT: Final = 8080

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway answered to a stand-in."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class StandIn:
    """One stand-in system, told what to do through its control address. log: its requests.jsonl."""

    name: str
    port: int
    log: Path

    def tell(self, what: str, **arguments: Any) -> Answer:
        """Have it act at the gateway. Raises DemoFailed when it got no answer there."""
        answer = self._call("POST", what, arguments)
        if not isinstance(answer, dict) or "status" not in answer:
            raise DemoFailed(f"{self.name}, {what}: {answer}")
        return Answer(answer["status"], answer.get("body"))

    def state(self) -> dict[str, Any]:
        """What it holds."""
        state = self._call("GET", "state", None)
        if not isinstance(state, dict):
            raise DemoFailed(f"{self.name}: no state")
        return state

    def requests(self) -> list[dict[str, Any]]:
        """What reached it and what it answered, in order."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def _call(self, method: str, what: str, arguments: Mapping[str, Any] | None) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(method, f"http://127.0.0.1:{self.port}/control/{what}", json=arguments, timeout=CALL_SECONDS)
                return answer.json()
            except (requests.RequestException, ValueError) as error:
                raise DemoFailed(f"{self.name}, {what}: no answer ({type(error).__name__})") from None


@dataclass(slots=True)
class Town:
    """A running demo. folder: its database, keys and logs. ehrs: by organisation key."""

    folder: Path
    base_url: str
    processes: Processes
    rms: StandIn
    cad: StandIn
    ehrs: Mapping[str, StandIn]
    database: Database
    receipts: list[str] = field(default_factory=list)

    def wait(self, what: str, look: Callable[[], T | None]) -> T:
        """Ask again until something is there. Raises DemoFailed after a while."""
        until = time.monotonic() + WAIT_SECONDS
        while True:
            self.processes.require_running()
            found = look()
            if found is not None:
                return found
            if time.monotonic() > until:
                raise DemoFailed(f"{what}: not seen after {WAIT_SECONDS:.0f} s")
            time.sleep(0.1)

    def pushed_task(self, organization: str, seen: set[str]) -> tuple[str, dict[str, Any]]:
        """The next Task that was pushed into an EHR: the id of the gateway's live one, and the EHR's whole state."""
        prefix = f"{self.base_url}/fhir/Task/"

        def look() -> tuple[str, dict[str, Any]] | None:
            state = self.ehrs[organization].state()
            for task in state["resources"].get("Task", []):
                for identifier in task.get("identifier", []):
                    address = str(identifier.get("value", ""))
                    if address.startswith(prefix) and address not in seen and task.get("status") == "requested":
                        seen.add(address)
                        return address.removeprefix(prefix), state
            return None

        return self.wait(f"a Task in the EHR of {people.NAMES[organization]}", look)

    def ledger(self, receipt: str) -> list[dict[str, Any]]:
        """The entries of a referral's ledger, by `crisis-gateway ledger print`."""
        printed = self.processes.run("gateway", "ledger", "print", receipt, "--json")
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]

    def audit(self, receipt: str) -> list[AuditRow]:
        """The audit rows of a referral, in order."""
        with self.database.read() as unit:
            referral = referrals.find_by_any_receipt(unit, receipt)
            return audit_rows(unit, referral=referral.id) if referral is not None else []


@contextmanager
def open_town(port: int | None, wire: Path | None) -> Iterator[Town]:
    """Start everything on a fresh database and stop it again. port: of the gateway. wire: where exchanges are saved."""
    gateway_port = free_port(port if port is not None else USUAL_PORT)
    if port is not None and gateway_port != port:
        raise DemoFailed(f"port {port} is taken")
    with TemporaryDirectory(prefix="crisis-demo-") as made:
        folder = Path(made)
        base_url = f"http://127.0.0.1:{gateway_port}"
        environment = {
            "CRISIS_GATEWAY_DATABASE_URL": f"sqlite:///{folder / 'demo.db'}",
            "CRISIS_GATEWAY_BASE_URL": base_url,
            "CRISIS_GATEWAY_BIND": f"127.0.0.1:{gateway_port}",
            "CRISIS_GATEWAY_KEYS": str(folder / "keys"),
            "CRISIS_GATEWAY_ALLOW_PRIVATE_ADDRESSES": "true",
        }
        processes = Processes(folder, environment)
        try:
            yield _started(folder, base_url, gateway_port, processes, wire)
        finally:
            processes.stop()


def _started(folder: Path, base_url: str, gateway_port: int, processes: Processes, wire: Path | None) -> Town:
    senders = {sender.client: (sender.standin, sender.scope) for sender in (people.RMS, people.CAD)}
    systems = {**senders, **dict.fromkeys(people.EHR_CLIENTS.values(), ("ehr", people.EHR_SCOPE))}
    ports = {client: free_port() for client in systems}
    log = ("--wire", str(wire)) if wire else ()
    for client, port in ports.items():
        kind, scope = systems[client]
        options = ("--port", str(port), "--state", str(folder / client), "--gateway", base_url)
        named = ("--client-id", client, "--name", client, "--scope", scope)
        processes.start(client, "conformance", "standin", kind, *options, *named, *log)
    processes.run("gateway", "db", "upgrade")
    processes.wait_listening(list(ports.values()), START_SECONDS)
    (folder / "parties.toml").write_text(people.parties_toml(ports), encoding="utf-8")
    processes.run("gateway", "parties", "apply", str(folder / "parties.toml"))
    processes.start("gateway", "gateway", "serve")
    processes.start("worker", "gateway", "worker")
    processes.wait_listening([gateway_port], START_SECONDS)
    standins = {client: StandIn(client, port, folder / client / "requests.jsonl") for client, port in ports.items()}
    return Town(
        folder=folder,
        base_url=base_url,
        processes=processes,
        rms=standins[people.RMS.client],
        cad=standins[people.CAD.client],
        ehrs={organization: standins[client] for organization, client in people.EHR_CLIENTS.items()},
        database=Database(processes.environment["CRISIS_GATEWAY_DATABASE_URL"]),
    )
