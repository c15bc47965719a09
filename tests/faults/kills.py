"""`kill -9` of server and worker: at every named point, and at random moments."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.faults.case import Case
from tests.faults.points import POINTS
from tests.faults.scene import DidNotHappen, Scene
from tests.faults.site import Plan

BEFORE, AFTER = 3, 4
"""Referrals that are acknowledged before and after the blow."""


def kill_at(point: str, scene: Scene) -> None:
    """Kill the process that comes to a point; its supervisor starts another one, and the load goes on."""
    scene.people.wait_for(BEFORE)
    scene.strike(point)
    scene.people.wait_for(AFTER)


def kill_server(scene: Scene) -> None:
    """The whole server, all its processes at once."""
    scene.people.wait_for(BEFORE)
    scene.kill("server")
    scene.people.wait_for(AFTER)


def kill_first_process(scene: Scene) -> None:
    """The server's first process alone, which answers nothing itself: those below it must not go on without it."""
    scene.people.wait_for(BEFORE)
    scene.kill_one(scene.site.processes.pid("server"))
    scene.people.wait_for(AFTER)


def kill_all(scene: Scene) -> None:
    """Server and worker in one moment, as when a machine loses its power but not its disk."""
    scene.people.wait_for(BEFORE)
    for name in ("server", "worker-1"):
        scene.kill(name)
    scene.people.wait_for(AFTER)


def random_moments(scene: Scene, moments: int = 50) -> None:
    """Again and again, whoever is drawn, whatever it does just then, be it starting."""
    scene.people.wait_for(BEFORE)
    before = scene.killed
    while scene.killed - before < moments:
        scene.pause(0.05, 1.6)
        drawn = scene.random.random()
        children = scene.site.processes.children("server")
        if drawn < 0.5:
            scene.kill("worker-1")
        elif drawn < 0.8 and children:
            scene.kill_one(scene.random.choice(children))
        else:
            scene.kill("server")
    scene.until("the gateway answers again", scene.site.ready, 60)
    scene.people.wait_for(AFTER)
    scene.said.append(f"{moments} moments")
    if scene.killed - before < moments:
        raise DidNotHappen("too few deaths")


def everywhere(scene: Scene) -> None:
    """One blow after the other, at every point, in an order drawn from the seed."""
    points = list(POINTS)
    scene.random.shuffle(points)
    for point in points:
        scene.people.wait_for(1)
        scene.strike(point, nth=1)
    scene.people.wait_for(AFTER)
    scene.said.append(f"{len(points)} points")


def blind(point: str, scene: Scene) -> None:
    """A worker dies where a peer that knows no ifNoneExist may have got something: the row is unknown, and stays so."""
    scene.people.wait_for(BEFORE)
    scene.strike(point)
    scene.people.wait_for(AFTER)
    scene.until("a row is unknown", lambda: scene.unknown() > 0)


CASES: Final = (
    *(Case(f"kill {name}", point.about, partial(kill_at, name)) for name, point in POINTS.items()),
    Case("kill server", "kill -9 of all server processes", kill_server),
    Case("kill first process", "kill -9 of gunicorn's own process", kill_first_process),
    Case("kill all", "kill -9 of server and worker in one moment", kill_all),
)
BLIND: Final = tuple(
    Case(f"blind kill {name}", POINTS[name].about, partial(blind, name), Plan(honours=False))
    for name in ("before-send", "after-send", "before-finish")
)


def random_case(moments: int) -> Case:
    """The case of random moments."""
    return Case("kill at random", "kill -9 of whoever is drawn", partial(random_moments, moments=moments))
