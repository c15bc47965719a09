"""PyPI has other people's `conformance` and `mappings`: what is imported must be this distribution's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.code_rules import PACKAGES
from tests.rules.trees import ROOT, plant, published_files


def home_of(package):
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).resolve().parent.parent


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_that_is_imported_is_the_one_beside_gateway(package):
    assert home_of(package) == home_of("gateway")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_brings_a_package_of_the_name(package):
    owners = set(importlib.metadata.packages_distributions().get(package, []))
    assert owners <= {"crisis-referral-gateway"}


def test_a_planted_stranger_of_the_name_would_be_imported_and_found(tmp_path):
    plant(tmp_path, "mappings/__init__.py", "")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from tests.rules.test_packages import home_of\n"
        "sys.exit(home_of('mappings') != home_of('gateway'))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_no_page_tells_anybody_to_install_a_package_of_that_name():
    told = [
        f"{file.name}: {line.strip()}"
        for file in published_files()
        if file.suffix in (".md", ".toml", ".yml", ".yaml", "")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if "pip install" in line and {"conformance", "mappings", "profiles", "gateway"} & set(line.replace("`", " ").split())
    ]
    assert told == []
