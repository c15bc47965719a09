"""The demo from start to end: bring the town up, tell the story, save what was asked for, stay or leave."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from gateway.demo import people
from gateway.demo.failing import DemoFailed
from gateway.demo.saving import prepare, save_stored
from gateway.demo.steps import Steps
from gateway.demo.story import tell
from gateway.demo.terminal import Terminal
from gateway.demo.town import Town, open_town
from gateway.errors import Failure

ABOUT: Final = (
    "A gateway, its worker, a police records system, a 911 centre's CAD and the EHRs of two clinics and a mobile team start now as "
    "processes of their own, on a fresh database. "
    "Every line below is an answer one of them got, an entry of the ledger or a row of the audit log. All people are invented."
)


def run_demo(*, once: bool, save: Path | None, port: int | None, terminal: Terminal | None = None) -> int:
    """Run it. once: leave after the story. save: folder for what was stored and sent. Returns the exit code."""
    shown = terminal or Terminal()
    begun = time.monotonic()
    try:
        wire = prepare(save) if save else None
        shown.title("The crisis referral gateway", ABOUT)
        with open_town(port, wire) as town:
            shown.note(f"everything runs after {time.monotonic() - begun:.1f} s")
            tell(Steps(town, shown))
            if save:
                count = save_stored(town, save)
                shown.note(
                    f"{count} resources in {save / 'stored'}, {len(list((save / 'wire').glob('*.http')))} exchanges in {save / 'wire'}"
                )
            shown.note(f"the story took {time.monotonic() - begun:.1f} s")
            if not once:
                _stay(town, shown)
    except (DemoFailed, Failure, OSError) as failure:
        shown.failed(str(failure) or type(failure).__name__)
        return 1
    except KeyboardInterrupt:
        shown.note("stopped")
        return 0 if not once else 130
    return 0


def _stay(town: Town, shown: Terminal) -> None:
    """Print where everything is and wait for Ctrl-C or SIGTERM."""
    systems = {"gateway": town.base_url}
    systems |= {name: f"http://127.0.0.1:{by.port}/control/state" for name, by in (("records system", town.rms), ("911 CAD", town.cad))}
    systems |= {people.NAMES[key]: f"http://127.0.0.1:{ehr.port}/control/state" for key, ehr in town.ehrs.items()}
    shown.lines("It all keeps running", {**systems, "database, keys, logs": str(town.folder)})
    shown.commands("Try it from another terminal", curl_lines(town))
    shown.note("Ctrl-C stops everything and removes the database")
    stopped = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        while not stopped.wait(0.5):
            town.processes.require_running()
    finally:
        signal.signal(signal.SIGTERM, previous)


def curl_lines(town: Town) -> list[str]:
    """Lines for a shell that get tokens and use them at the running gateway."""
    command = shlex.join([sys.executable, "-m", "gateway"])
    base = town.base_url
    clinic = people.EHR_CLIENTS[people.CLINIC]

    def token(client: str, scope: str) -> str:
        key = shlex.quote(str(town.folder / client / "key.json"))
        return f"$(CRISIS_GATEWAY_BASE_URL={base} {command} token {client} --key {key} --scope {shlex.quote(scope)})"

    return [
        f"curl -s {base}/fhir/.well-known/smart-configuration",
        f"curl -s {base}/intake/rms-diversion/schema",
        f'OFFICER="{token(people.RMS.client, people.RMS.scope)}"',
        f'curl -s -H "Authorization: Bearer $OFFICER" {base}/referrals/{town.receipts[0]}',
        f'curl -s -H "Authorization: Bearer $OFFICER" {base}/fhir/Task   # refused: police get no /fhir read',
        f'DISPATCHER="{token(people.CAD.client, people.CAD.scope)}"',
        f'curl -s -H "Authorization: Bearer $DISPATCHER" {base}/referrals/{town.receipts[-1]}',
        f'CLINIC="{token(clinic, people.EHR_SCOPE)}"',
        f'curl -s -H "Authorization: Bearer $CLINIC" "{base}/fhir/Task?status=accepted"',
        (
            f'curl -s -X POST http://127.0.0.1:{town.rms.port}/control/cancel -H "Content-Type: application/json" '
            f'-d \'{{"receipt": "{town.receipts[0]}"}}\''
        ),
    ]
