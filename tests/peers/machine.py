"""What the peers need of this machine: found, or installed by apt-get where we are root; otherwise the test is skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
APT_SECONDS = 900


def require_programs(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Have programs on the PATH, by installing Debian packages if need be; skips the test when that cannot be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        install(tuple(packages))
        missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on this machine; on Debian: apt-get install {' '.join(packages)}")


@cache
def install(packages: tuple[str, ...]) -> None:
    """Install Debian packages where we may; whoever asked for them looks afterwards whether they came."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # somebody else's apt-get may be at work on a new machine
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
    for arguments in (("update",), ("install", "--no-install-recommends", *packages)):
        done = subprocess.run([*apt, *arguments], env=environment, capture_output=True, text=True, timeout=APT_SECONDS, check=False)
        if done.returncode:
            print(f"apt-get {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def outside_environment(**more: str) -> dict[str, str]:
    """The environment for a process of its own: what this test run and an operator's gateway have set is left out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRISIS_", "PYTEST_", "PYTHONPATH"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
