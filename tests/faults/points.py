"""The named points of the gateway at which a fault can strike: which function, before or after it, and for which of its calls.

A point names functions of the gateway's own code by their place. `find` raises for one that is not there any more, so that a
rename breaks the run loudly instead of leaving a fault that never comes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ANY: Final = "any"
Fits = Callable[[tuple[Any, ...], Any], bool]
"""(positional arguments, result or None) → whether this call is one the point means."""


def _always(_arguments: tuple[Any, ...], _result: Any) -> bool:
    return True


def _of_kind(kind: str, place: int) -> Fits:
    return lambda arguments, _result: getattr(arguments[place], "kind", "") == kind


def _claimed(kind: str) -> Fits:
    return lambda _arguments, result: any(row.kind == kind for row in result)


@dataclass(frozen=True, slots=True)
class Point:
    """process: whose it is. targets: "module:Class.function" by dialect, or under ANY. in_section: within the write section."""

    about: str
    process: Literal["server", "worker"]
    targets: Mapping[str, str]
    when: Literal["before", "after"]
    fits: Fits = _always
    in_section: bool = False


_FINISH: Final = {ANY: "gateway.store.outbox:finish"}
_PUSH: Final = {ANY: "gateway.delivery.channels.fhir_rest:OpenFhirRest._post"}
_CALLBACK: Final = {ANY: "gateway.delivery.channels.callback:OpenCallback.send"}
_COMMIT: Final = {"sqlite": "gateway.store.sqlite_writer:SqliteWriter._commit"}

POINTS: Final[Mapping[str, Point]] = {
    "after-claim": Point(
        "rows are claimed and nothing is done", "worker", {ANY: "gateway.delivery.worker:Worker._claim"}, "after", _claimed("deliver")
    ),
    "in-decision": Point(
        "what leaves is decided and audited, not committed",
        "worker",
        {ANY: "gateway.store.outbox:begin_sending"},
        "after",
        _of_kind("deliver", 1),
        in_section=True,
    ),
    "before-send": Point("committed as sending, no byte has left", "worker", _PUSH, "before"),
    "after-send": Point("the peer's answer is read and not kept", "worker", _PUSH, "after"),
    "before-finish": Point("the outcome is about to be written", "worker", _FINISH, "before", _of_kind("deliver", 1), in_section=True),
    "after-finish": Point(
        "the outcome is committed", "worker", {ANY: "gateway.delivery.worker:Worker._settle"}, "after", _of_kind("deliver", 1)
    ),
    "in-offer": Point("an offer is made and its row not finished", "worker", _FINISH, "before", _of_kind("offer", 1), in_section=True),
    "after-offer": Point("an offer is committed", "worker", {ANY: "gateway.delivery.worker:Worker._do"}, "after", _of_kind("offer", 1)),
    "before-callback": Point("committed as sending, no byte has left", "worker", _CALLBACK, "before"),
    "after-callback": Point("the sender's system has answered", "worker", _CALLBACK, "after"),
    "in-chain": Point(
        "audit rows are linked, not committed", "worker", {ANY: "gateway.store.audit_chain:append_links"}, "after", in_section=True
    ),
    "in-intake": Point("a referral is written, not committed", "server", {ANY: "gateway.referral.intake:_keep"}, "after", in_section=True),
    "after-intake": Point("a referral is committed, not answered", "server", {ANY: "gateway.web.intake:take_in"}, "after"),
    "in-acceptance": Point(
        "an acceptance is written, not committed", "server", {ANY: "gateway.referral.progress:_move"}, "after", in_section=True
    ),
    "after-acceptance": Point("an acceptance is committed, not answered", "server", {ANY: "gateway.web.fhir:update_task"}, "after"),
    "before-commit": Point(
        "whatever is written is about to be committed",
        "server",
        {**_COMMIT, "postgresql": "psycopg:Connection.commit"},
        "before",
        in_section=True,
    ),
    "after-commit": Point(
        "whatever is written is committed, nobody is told",
        "server",
        {**_COMMIT, "postgresql": "gateway.store.postgres:PostgresStore._run"},
        "after",
    ),
}


def find(target: str) -> tuple[Any, str, Callable[..., Any]]:
    """Whom a target belongs to, its name there, and the function. Raises LookupError when there is none."""
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *above, name = path.split(".")
    for part in above:
        owner = getattr(owner, part, None)
    function = vars(owner).get(name) if owner is not None else None
    if not callable(function):
        raise LookupError(f"{target} is not there: a point of tests/faults must be moved with it")
    return owner, name, function


def target_of(point: Point, dialect: str) -> str:
    """Where a point is on a database."""
    return point.targets.get(dialect) or point.targets[ANY]
