"""Peers at their worst: an EHR that is away for an hour, slow, refuses, talks nonsense, keeps silent or says everything twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from tests.faults.case import Act, Case
from tests.faults.evidence import read_pushes
from tests.faults.scene import DidNotHappen, Scene
from tests.faults.site import EHR, HOSPITAL_RMS, HOUR_SECONDS, PEER_SECONDS, Plan, listens

FEW: Final = 4
USUAL: Final = {"slow_seconds": 0, "status": None, "status_count": 0, "lose_answers": 0, "garble_answers": 0, "double_answers": 0}
BLIND: Final = Plan(honours=False)


def away(scene: Scene) -> None:
    """Nothing listens at the EHR for an hour of compressed time; then it is back, and everything arrives."""
    scene.people.wait_for(2)
    scene.quieten()  # else what it was sent in its last moment would be asked of an EHR that has forgotten it
    scene.site.processes.stop(EHR)
    scene.people.go_on()
    scene.people.wait_for(2 * FEW)
    scene.people.stop_sending()
    scene.pause(HOUR_SECONDS)
    if listens(scene.site.ports[EHR]):
        raise DidNotHappen("the EHR was there")
    tried = scene.tries()
    if not tried:
        raise DidNotHappen("nobody tried to reach it")
    scene.site.processes.start(EHR)
    scene.people.go_on()
    scene.said.append(f"{tried} tries in the hour")
    scene.people.wait_for(2)


def misbehaving(scene: Scene, behaviour: Mapping[str, Any], seen: Callable[[Scene], bool], *, unknown: bool = False) -> None:
    """Tell the EHR to misbehave, see in its own log that it did, and let it behave again."""
    scene.people.wait_for(2)
    scene.site.behave(EHR, **behaviour)
    scene.until("what the EHR was told to do", lambda: seen(scene))
    scene.people.wait_for(FEW)
    scene.site.behave(EHR, **USUAL)
    if unknown:
        scene.until("a row is unknown", lambda: scene.unknown() > 0)
        scene.said.append(f"{scene.unknown()} unknown")
    scene.people.wait_for(2)


def statuses(scene: Scene) -> list[int | None]:
    """What the EHR answered to pushes, None for an answer it lost."""
    return [push.status for push in read_pushes(scene.site.requests_log(EHR), scene.site.base_url)]


def answered(status: int | None, times: int = 2) -> Callable[[Scene], bool]:
    """Whether pushes were answered so."""
    return lambda scene: statuses(scene).count(status) >= times


def used_up(name: str) -> Callable[[Scene], bool]:
    """Whether nothing is left of a counted behaviour."""
    return lambda scene: scene.site.state(EHR)["behaviour"][name] == 0


def timed_out(scene: Scene) -> bool:
    """Whether the gateway gave a call up."""
    return '"timeout"' in scene.logs()


def accepts_twice(scene: Scene) -> None:
    """The clinic's acceptances come twice at once, on one version: one of the two is taken, the other hears 412 or the same again."""
    scene.people.wait_for(2 * FEW)

    def doubled() -> list[list[int | None]]:
        return [pair for pair in scene.people.pairs if None not in pair]

    scene.until("two acceptances at once", lambda: len(doubled()) >= 3)
    odd = [pair for pair in doubled() if sorted(pair, key=int) not in ([200, 412], [200, 200])]  # type: ignore[arg-type]
    if odd:
        scene.faults.append(f"two acceptances at once were answered {odd[0]}")
    scene.said.append(f"{len(doubled())} pairs")


def rms_loses(scene: Scene) -> None:
    """The sender's system takes callbacks and says nothing: each comes again under its delivery id."""
    scene.site.behave(HOSPITAL_RMS, lose_answers=3)
    scene.until("lost answers", lambda: scene.site.state(HOSPITAL_RMS)["behaviour"]["lose_answers"] == 0)
    scene.people.wait_for(2)
    scene.until("a repeated callback", lambda: any(each["repeated"] for each in scene.site.state(HOSPITAL_RMS)["callbacks"]))


WAYS: Final[Mapping[str, tuple[str, dict[str, Any], Callable[[Scene], bool]]]] = {
    "slow": ("slower than a call may take", {"slow_seconds": PEER_SECONDS + 1}, timed_out),
    "500": ("answers 500", {"status": 500, "status_count": 6}, answered(500)),
    "429": ("answers 429 with Retry-After", {"status": 429, "status_count": 4, "retry_after_seconds": 1}, answered(429)),
    "garbage": ("takes it and answers what is no JSON", {"garble_answers": 3}, used_up("garble_answers")),
    "silent": ("takes it and loses the answer", {"lose_answers": 3}, answered(None)),
    "twice": ("says its answer twice", {"double_answers": 3}, used_up("double_answers")),
}


def _act(name: str, *, unknown: bool = False) -> Act:
    _, behaviour, seen = WAYS[name]
    return partial(misbehaving, behaviour=behaviour, seen=seen, unknown=unknown)


def in_turn(names: tuple[str, ...], scene: Scene) -> None:
    """One way to misbehave after the other."""
    for name in names:
        _, behaviour, seen = WAYS[name]
        scene.people.wait_for(1)
        scene.site.behave(EHR, **behaviour)
        scene.until(f"what the EHR was told to do ({name})", lambda seen=seen: seen(scene))
        scene.site.behave(EHR, **USUAL)
    scene.people.wait_for(2)
    scene.said.append(", ".join(names))


def blind_in_turn(scene: Scene) -> None:
    """The same towards a peer that knows no ifNoneExist: each leaves rows unknown, and nothing is said again."""
    in_turn(("silent", "garbage", "500", "429"), scene)
    before = scene.unknown()
    scene.strike("after-send", nth=1)
    scene.until("a row is unknown because its worker died", lambda: scene.unknown() > before)
    scene.said.append(f"{scene.unknown()} unknown")


CASES: Final = (
    Case("EHR away for an hour", "nothing listens there", away, spoils=True),  # a stand-in forgets what it held, no EHR does
    *(Case(f"EHR {name}", about, _act(name)) for name, (about, _, _) in WAYS.items()),
    Case("EHR accepts twice", "two PUTs on one version at once", accepts_twice, twice=True),
    Case("RMS silent", "takes callbacks and loses its answers", rms_loses),
)
BLIND_CASES: Final = tuple(
    Case(f"blind EHR {name}", WAYS[name][0], _act(name, unknown=name in ("slow", "500", "garbage", "silent")), BLIND)
    for name in ("slow", "500", "429", "garbage", "silent")
)
