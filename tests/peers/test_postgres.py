"""The suites that need a database, once more on PostgreSQL: a county runs that, and every promise holds there as well."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.peers.machine import REPOSITORY, outside_environment

pytestmark = pytest.mark.peers

SUITES = ("store", "access", "fhir", "referral", "delivery", "oauth", "web", "audit")
OPTIONS = ("-q", "-n", "2", "-p", "tests.peers.without_sqlite", "-p", "no:cacheprovider")
SECONDS = 1800


def test_every_suite_with_a_database_passes_on_postgresql(postgres_url, tmp_path):
    suites = [f"tests/{name}" for name in SUITES if list((REPOSITORY / "tests" / name).glob("test_*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--junit-xml", tmp_path / "junit.xml", *suites],
        cwd=REPOSITORY,
        env=outside_environment(CRISIS_TEST_POSTGRES_URL=postgres_url),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    cases = ElementTree.parse(tmp_path / "junit.xml").getroot().findall(".//testcase")
    skipped = {
        f"{case.get('classname')}.{case.get('name')}": case.find("skipped").get("message")
        for case in cases
        if case.find("skipped") is not None
    }
    # a test that found no PostgreSQL would skip: then nothing was shown
    assert skipped == {}
    assert {suite.removeprefix("tests/") for suite in suites} <= {str(case.get("classname")).split(".")[1] for case in cases}
