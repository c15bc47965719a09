"""A skip among the peers turns CI red, and only CI. Needs no peer itself, so it runs with `make test`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.peers.machine import REPOSITORY, outside_environment

SKIPS = {
    "in a test": "import pytest\ndef test_it():\n    pytest.skip('no peer')\n",
    "by a mark": "import pytest\n@pytest.mark.skip(reason='no peer')\ndef test_it(): ...\n",
    "in a fixture": "import pytest\n@pytest.fixture\ndef peer():\n    pytest.skip('no peer')\ndef test_it(peer): ...\n",
    "of a module": "import pytest\npytest.skip('no peer', allow_module_level=True)\ndef test_it(): ...\n",
}


@pytest.mark.parametrize("kind", SKIPS)
@pytest.mark.parametrize(("ci", "passes"), [("true", False), ("false", True)])
def test_a_skipped_test_of_the_peers_fails_in_ci_alone(tmp_path, kind, ci, passes):
    (tmp_path / "test_peer.py").write_text(SKIPS[kind] + "def test_of_something_else(): ...\n" * (kind != "of a module"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.peers.skips", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=REPOSITORY,
        env=outside_environment(CI=ci),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "no peer" in done.stdout or passes
    assert (done.returncode in (0, 5)) == passes, done.stdout + done.stderr
