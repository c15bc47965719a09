"""The named points are where the code is, and a fault that was ordered strikes once, at the call it was ordered for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.faults.points import ANY, POINTS, find
from tests.faults.room import KILL, STOP, Room
from tests.peers.machine import REPOSITORY, outside_environment

TARGETS = sorted({target for point in POINTS.values() for target in point.targets.values()})


@pytest.mark.parametrize("target", TARGETS)
def test_every_point_names_a_function_that_is_there(target):
    assert callable(find(target)[2])


def test_every_point_is_somewhere_on_both_databases():
    assert all(ANY in point.targets or set(point.targets) == {"sqlite", "postgresql"} for point in POINTS.values())


@pytest.mark.parametrize(
    "target", ["gateway.store.outbox:finnish", "gateway.delivery.worker:Worker._setle", "gateway.delivery.worker:Wrker._do"]
)
def test_a_point_that_was_renamed_breaks_loudly(target):
    with pytest.raises(LookupError):
        find(target)


def test_a_fault_strikes_at_the_call_it_was_ordered_for_and_never_again(tmp_path):
    room = Room(tmp_path)
    room.arm("before-send", STOP, nth=3)
    assert [room.hit("after-send", 7), *(room.hit("before-send", 7) for _ in range(4))] == [None, None, None, STOP, None]
    assert [(fired.point, fired.action, fired.pid) for fired in room.fired()] == [("before-send", STOP, 7)]


def test_a_fault_that_was_taken_back_never_strikes(tmp_path):
    room = Room(tmp_path)
    room.arm("before-send")
    room.clear()
    assert room.hit("before-send", 7) is None


def test_the_launcher_kills_its_own_process_at_the_point_it_is_told(tmp_path):
    """`db`-less, on the smallest thing there is: a claim that finds a delivery."""
    Room(tmp_path).arm("after-claim", KILL)
    program = (
        "from pathlib import Path\nfrom types import SimpleNamespace\nimport sys\n"
        "from gateway.delivery.worker import Worker\n"
        "Worker._claim = lambda self, kinds: [SimpleNamespace(kind=kind) for kind in kinds]\n"
        "from tests.faults.launch import wrap_points\nfrom tests.faults.room import Room\n"
        "wrap_points(Room(Path(sys.argv[1])), 'sqlite')\n"
        "Worker._claim(None, ['offer'])\nprint('still here', flush=True)\nWorker._claim(None, ['deliver'])\nprint('never', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=outside_environment(PYTHONPATH=os.fspath(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "still here\n"), done.stderr
