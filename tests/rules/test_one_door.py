"""One door: imports run downwards, the tables of what is confidential are the records' own, and nobody else makes a Disclosed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.rules import code_rules
from tests.rules.trees import ROOT, copy_of_the_code, plant

PLANTED_IMPORTS = [
    ("imports run downwards", "gateway/store/planted.py", "import gateway.web.intake"),
    ("profiles and mappings import nothing of ours", "profiles/planted.py", "import mappings"),
    ("profiles, mappings and conformance know no gateway", "mappings/planted.py", "import gateway.errors"),
    ("conformance uses profiles only", "conformance/planted.py", "import mappings"),
    (
        "the one door: resources, index and permits are read by access.records alone",
        "gateway/web/planted.py",
        "import gateway.store.resources",
    ),
    ("SQL by the store alone", "gateway/referral/planted.py", "import sqlalchemy"),
]


def lint_imports(root):
    pytest.importorskip("importlinter", reason="import-linter is missing: make lint brings it and runs this")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=None, no_cache=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)


def test_every_import_contract_holds():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_import_contract_has_a_planted_violation():
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == {name for name, _, _ in PLANTED_IMPORTS}


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED_IMPORTS)
def test_a_planted_import_breaks_its_contract(tmp_path, contract, path, line):
    root = copy_of_the_code(tmp_path)
    plant(root, path, f"{line}\n")
    done = lint_imports(root)
    assert done.returncode == 1, done.stderr
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


def test_only_the_records_read_resources_index_and_permits():
    assert code_rules.imports_past_the_door(ROOT) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gateway/access/planted.py", "from gateway.store import resources"),
        ("gateway/access/planted.py", "from gateway.store.visible import Visible"),
        ("gateway/access/planted.py", "from ..store import search as index"),
        ("gateway/web/planted.py", "import gateway.store.search"),
        ("gateway/delivery/planted.py", "import importlib; importlib.import_module('gateway.store.resources')"),
    ],
)
def test_a_planted_reader_past_the_door_is_found(tmp_path, path, line):
    plant(tmp_path, path, f"{line}\n")
    assert code_rules.imports_past_the_door(tmp_path) != []


def test_only_the_store_speaks_sql():
    assert code_rules.sql_outside_the_store(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "import sqlite3",
        "from sqlalchemy import text",
        "import sqlmodel",
        "def rows(unit):\n    return unit.connection.exec_driver_sql('SELECT 1')",
    ],
)
def test_planted_sql_is_found(tmp_path, line):
    plant(tmp_path, "gateway/referral/planted.py", f"{line}\n")
    assert code_rules.sql_outside_the_store(tmp_path) != []


def test_only_the_records_make_a_disclosed():
    assert code_rules.makers_of_disclosed(ROOT) == []


@pytest.mark.parametrize(
    "lines",
    [
        "from gateway.access.disclosed import Disclosed\nDisclosed('view', b'', None)",
        "from gateway.access.disclosed import Disclosed as Said\nSaid('view', b'', None)",
        "from gateway.access import disclosed\ndisclosed.Disclosed('view', b'', None)",
        "from gateway.access.disclosed import Disclosed\nobject.__new__(Disclosed)",
        "from gateway.access.disclosed import Disclosed\nclass Mine(Disclosed): ...",
        "from gateway.access.disclosed import _SEAL",
        "from gateway.access import disclosed\ntaken = disclosed._SEAL",
    ],
)
def test_a_planted_maker_of_disclosed_is_found(tmp_path, lines):
    plant(tmp_path, "gateway/web/planted.py", f"{lines}\n")
    assert code_rules.makers_of_disclosed(tmp_path) != []


def test_a_disclosed_cannot_be_made_without_the_seal():
    from gateway.access.disclosed import Disclosed

    with pytest.raises(TypeError):
        Disclosed("view", {"status": "closed"}, object())
