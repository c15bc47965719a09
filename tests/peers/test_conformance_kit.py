"""The conformance kit against the running gateway, set up exactly as docs/conformance.md says, on both databases.

What the gateway answered it goes to HL7's validator as well: refusals, dry runs and searches that the demo does not show.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.peers.machine import REPOSITORY, outside_environment
from tests.peers.postgres import new_database
from tests.peers.reference_validator import ask_hl7, ask_ours, errors_of
from tests.peers.running_gateway import running_gateway
from tests.peers.saved_resources import kinds_in, write_wire_resources

pytestmark = pytest.mark.peers

SECONDS = 300
FEWEST_PASSED = 15


def kit(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "conformance", *arguments],
        cwd=folder,
        env=outside_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@dataclass
class Run:
    """One run of the kit. folder: with its reports and every exchange."""

    done: subprocess.CompletedProcess[str]
    folder: Path

    def verdicts(self) -> dict[str, str]:
        """passed, skipped, failure or error of each check, as a CI server reads them."""
        return {
            str(case.get("name")): next((child.tag for child in case if child.tag != "system-out"), "passed")
            for case in ElementTree.parse(self.folder / "junit.xml").getroot().iter("testcase")
        }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kit_run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    clients, parties = set_up_as_documented(folder)
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'gateway.db'}"
        if request.param == "postgresql":
            url = stack.enter_context(new_database(request.getfixturevalue("postgres_url")))
        base_url = stack.enter_context(running_gateway(folder, parties, url))
        done = kit(
            folder, "run", "--target", base_url, "--role", "gateway", "--client", clients,
            "--junit", "junit.xml", "--json", "run.json", "--wire", "saved/wire",
        )  # fmt: skip
    return Run(done, folder)


def set_up_as_documented(folder):
    """The folder `kit` of docs/conformance.md, made by its own lines; returns its clients file and its parties file."""
    page = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    for line in re.findall(r"^crisis-conformance (keys .+)$", page, re.MULTILINE):
        done = kit(folder, *shlex.split(line, comments=True))
        assert done.returncode == 0, done.stderr
    files = (folder / "kit" / "clients.toml", folder / "kit" / "parties.toml")
    for file, content in zip(files, re.findall(r"^```toml\n(.+?)^```", page, re.MULTILINE | re.DOTALL), strict=True):
        file.write_text(content)
    return files


def test_the_gateway_passes_every_check_of_the_kit(kit_run):
    verdicts = kit_run.verdicts()
    assert kit_run.done.returncode == 0, kit_run.done.stdout + kit_run.done.stderr
    # every party and both kinds of key are there, so nothing may stay undemonstrated
    assert {name: verdict for name, verdict in verdicts.items() if verdict != "passed"} == {}, kit_run.done.stdout
    assert len(verdicts) >= FEWEST_PASSED


def test_hl7s_validator_finds_no_error_in_what_the_gateway_answered_the_kit(kit_run, tmp_path):
    answers = [file for file in write_wire_resources(kit_run.folder / "saved", tmp_path / "resources") if "-answer-" in file.name]
    kinds = {kind for file in answers for kind in kinds_in(json.loads(file.read_bytes()))}
    errors = errors_of(ask_hl7(answers)) + errors_of(ask_ours(answers))
    assert not errors, "\n".join(errors)
    assert kinds >= {"CapabilityStatement", "OperationOutcome", "Bundle", "Task", "Patient", "ServiceRequest"}
