"""The conformance kit against the running gateway, set up exactly as docs/conformance.md says, on both databases."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.peers.machine import REPOSITORY, outside_environment
from tests.peers.running_gateway import running_gateway

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


@pytest.fixture
def documented(tmp_path):
    """The folder `kit` of the page, made by its own lines: keys, clients.toml and parties.toml."""
    page = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    for line in re.findall(r"^crisis-conformance (keys .+)$", page, re.MULTILINE):
        done = kit(tmp_path, *shlex.split(line, comments=True))
        assert done.returncode == 0, done.stderr
    clients, parties = re.findall(r"^```toml\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "kit" / "clients.toml").write_text(clients)
    (tmp_path / "kit" / "parties.toml").write_text(parties)
    return tmp_path / "kit"


def test_the_gateway_passes_every_check_of_the_kit(documented, gateway_database_url):
    with running_gateway(documented, documented / "parties.toml", gateway_database_url) as base_url:
        done = kit(
            documented, "run", "--target", base_url, "--role", "gateway", "--client", "clients.toml",
            "--junit", "junit.xml", "--json", "run.json", "--wire", "wire",
        )  # fmt: skip
    verdicts = {
        case.get("name"): next((child.tag for child in case if child.tag != "system-out"), "passed")
        for case in ElementTree.parse(documented / "junit.xml").getroot().iter("testcase")
    }
    assert done.returncode == 0, done.stdout + done.stderr
    # every party and both kinds of key are there, so nothing may stay undemonstrated
    assert {name: verdict for name, verdict in verdicts.items() if verdict != "passed"} == {}, done.stdout
    assert len(verdicts) >= FEWEST_PASSED
    assert json.loads((documented / "run.json").read_text())
