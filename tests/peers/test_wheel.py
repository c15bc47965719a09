"""The wheel as a stranger installs it: every data file is in it, and both commands run far from the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.peers.machine import REPOSITORY, outside_environment

pytestmark = pytest.mark.peers

PACKAGES = ("gateway", "profiles", "mappings", "conformance")
BESIDE = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
NOT_SHIPPED = frozenset({".md", ".pyc", ".fsh"})  # pages for readers of the source, and what the data was compiled from
SECONDS = 180


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=outside_environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what a wheel is made of, so that no build product falls into the checkout."""
    folder = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", out, sources, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the commands of a new environment that holds the wheel, and borrows its dependencies from ours."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # A .pth that is named by another one is not read, so our editable checkout stays out of reach.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_every_file_the_code_reads_is_in_the_wheel(sources, wheel):
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    files = [file for name in PACKAGES for file in (sources / name).rglob("*") if file.is_file() and file.suffix not in NOT_SHIPPED]
    needed = {str(file.relative_to(sources)) for file in files}
    assert sorted(needed - in_wheel) == []
    assert {Path(name).suffix for name in needed} >= {".json", ".csv", ".gz"}


def test_the_wheel_brings_nothing_but_the_four_packages(wheel):
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == set(PACKAGES)


def test_the_installed_packages_are_the_wheels_own(installed, tmp_path):
    places = run(
        installed / "python", "-c", f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})))", cwd=tmp_path
    )
    assert [place for place in places.split() if not place.startswith(str(installed.parent))] == []


def test_both_commands_run_far_from_the_checkout(installed, sources, tmp_path):
    example = sources / "mappings" / "rms-diversion" / "examples" / "1-identified-person.json"
    bundle = tmp_path / "bundle.json"
    bundle.write_text(run(installed / "crisis-gateway", "map", "rms-diversion", example, cwd=tmp_path))
    assert json.loads(bundle.read_bytes())["resourceType"] == "Bundle"
    run(installed / "crisis-gateway", "validate", bundle, cwd=tmp_path)
    run(installed / "crisis-gateway", "db", "upgrade", cwd=tmp_path)
    assert (tmp_path / "crisis-gateway.db").exists()
    assert "token-es384" in run(installed / "crisis-conformance", "list", cwd=tmp_path)
    assert "SHALL" in run(installed / "crisis-conformance", "coverage", cwd=tmp_path)
