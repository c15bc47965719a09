"""House rules on sources: what may be caught, how long a module is, what is said first, and nothing of somebody's machine."""

from __future__ import annotations

import re

import pytest

from tests.rules import code_rules
from tests.rules.trees import ROOT, plant, published_files

# Written in pieces, so that this file does not find itself.
MACHINE = re.compile("|".join(rf"(?<![\w.}}/-])/{folder}/" for folder in ("work", "root", "home", "Users", "t" + "mp", "opt")))
# A lock that names where it was made, or from where, is of use to nobody else.
ADDRESS = re.compile(r"^\s*(--(extra-)?index-url|--find-links|-f|-i)\b|\bfile:|https?://", re.MULTILINE)
FORBIDDEN_FILES = re.compile(r"(\.db(-wal|-shm)?|\.key\.json|\.pem|\.sqlite3?|\.pyc|\.env)$")


def test_everything_is_caught_in_the_failure_table_and_the_delivery_loop_only():
    assert code_rules.catches_everything(ROOT) == []


@pytest.mark.parametrize("kind", ["except Exception:", "except BaseException:", "except:", "except (ValueError, Exception) as error:"])
def test_a_planted_catch_all_is_found(tmp_path, kind):
    plant(tmp_path, "gateway/referral/planted.py", f"try:\n    work()\n{kind}\n    pass\n")
    assert code_rules.catches_everything(tmp_path) == ["gateway/referral/planted.py:3: catches everything"]


def test_a_handler_that_cleans_up_and_raises_again_is_none(tmp_path):
    plant(tmp_path, "gateway/referral/planted.py", "try:\n    work()\nexcept BaseException:\n    clean()\n    raise\n")
    assert code_rules.catches_everything(tmp_path) == []


def test_no_module_is_over_400_lines():
    assert code_rules.modules_too_long(ROOT) == []


def test_a_planted_long_module_is_found(tmp_path):
    plant(tmp_path, "profiles/planted.py", "a = 1\n" * 401)
    assert code_rules.modules_too_long(tmp_path) == ["profiles/planted.py: 401 lines"]


def test_every_module_says_what_it_is_for():
    assert code_rules.modules_without_purpose(ROOT) == []


def test_a_planted_module_without_a_purpose_is_found(tmp_path):
    plant(tmp_path, "profiles/planted.py", "a = 1\n")
    assert code_rules.modules_without_purpose(tmp_path) == ["profiles/planted.py"]


def machine_paths(files):
    found = []
    for file in files:
        data = file.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if MACHINE.search(line):
                found.append(f"{file.name}:{number}: {line.strip()[:80]}")
    return found


def test_no_published_file_names_a_folder_of_somebodys_machine():
    assert machine_paths(published_files()) == []


@pytest.mark.parametrize("folder", ["work", "root", "home", "t" + "mp"])
def test_a_planted_machine_path_is_found(tmp_path, folder):
    file = plant(tmp_path, "docs/planted.md", f"see /{folder}/somebody/notes\n")
    assert len(machine_paths([file])) == 1


def test_no_key_database_or_compiled_file_is_published():
    assert [file.name for file in published_files() if FORBIDDEN_FILES.search(file.name)] == []


@pytest.mark.parametrize("name", ["crisis-gateway.db", "northside-ehr.key.json", "tls.pem", ".env"])
def test_a_planted_secret_is_found(name):
    assert FORBIDDEN_FILES.search(name)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_address(lock):
    text = (ROOT / lock).read_text()
    assert unpinned(text) == []
    assert ADDRESS.search(text) is None


def unpinned(lock):
    """Requirements of a lock that are not one exact version with at least one sha256."""
    joined = lock.replace("\\\n", " ").splitlines()
    return [
        line for line in joined if line.strip() and not re.match(r"^[a-z0-9._-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ]


@pytest.mark.parametrize(
    "line", ["flask>=3.1", "flask==3.1.3", "--index-url https://packages.example/simple\nflask==3.1.3 --hash=sha256:00"]
)
def test_a_planted_loose_requirement_is_found(line):
    assert unpinned(line) != []
