"""Node for the peers that are written for it: packages of npm by exact version, and scripts that stand beside the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.peers.machine import outside_environment, require_programs

NPM_SECONDS = 120


def run_script(folder: Path, script: str, packages: tuple[str, ...], asked: Any) -> Any:
    """What a script printed, as JSON, after it was given `asked`; the test is skipped where Node cannot be had.

    script: a file in this folder. packages: of npm, each `name@version`; none of their install scripts runs.
    """
    require_programs(("node", "npm"), ("nodejs", "npm"))
    if not (folder / "node_modules").exists():
        _run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *packages)
    shutil.copy(Path(__file__).parent / script, folder)
    return json.loads(_run(folder, "node", script, said=json.dumps(asked)))


def _run(folder: Path, *command: str, said: str = "") -> str:
    done = subprocess.run(
        command, cwd=folder, env=outside_environment(), input=said, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
