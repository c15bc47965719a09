"""HL7's reference validator and ours, asked the same question: job lines in, verdict lines out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.peers.machine import REPOSITORY, SHARED, outside_environment, require_programs

HL7 = SHARED / "validator" / "validate.py"
PROGRAMS = ("java", "javac", "mvn")
PACKAGES = ("maven", "default-jdk-headless")
# What we publish is loaded as well, so that answers are held against their questionnaire, and extensions against their definition.
LOADED = (
    "us-core-7",
    str(REPOSITORY / "mappings" / "rms-diversion" / "questionnaire.json"),
    *map(str, sorted((REPOSITORY / "profiles").rglob("StructureDefinition-*.json"))),
)
SECONDS = 500


def ask_hl7(files: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """The verdict of HL7's validator on each file, with US Core 7.0.0 loaded; skips the test when it is not to be had."""
    if not HL7.is_file():
        pytest.skip("HL7's validator (../shared/validator) is not on this machine")
    require_programs(PROGRAMS, PACKAGES)
    loaded = (part for name in LOADED for part in ("--with", name))
    return _verdicts([sys.executable, str(HL7), *loaded, "--jobs", "-", "--json"], files)


def ask_ours(files: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """The verdict of `crisis-gateway validate` on each file."""
    return _verdicts([sys.executable, "-m", "gateway", "validate", "--jobs", "-", "--json"], files)


def errors_of(verdicts: dict[Path, dict[str, Any]]) -> list[str]:
    """A line for each issue of severity error or fatal: file, place and text."""
    return [
        f"{file.name}: {issue['where']}: {issue['text']}"
        for file, verdict in verdicts.items()
        for issue in verdict["issues"]
        if issue["severity"] in ("error", "fatal")
    ]


def _verdicts(command: Sequence[str], files: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    jobs = "".join(json.dumps({"file": str(file)}) + "\n" for file in files)
    done = subprocess.run(command, input=jobs, env=outside_environment(), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode in (0, 1), done.stderr[-4000:]
    verdicts = {Path(verdict["file"]): verdict for verdict in map(json.loads, done.stdout.splitlines())}
    assert set(verdicts) == set(files), done.stderr[-4000:]
    return verdicts
