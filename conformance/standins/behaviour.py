"""How a stand-in misbehaves: what it was told through its control address, and what is still to come of it.

Faults that count (a status, a lost answer, a refused token) are taken one by one, so that a test says exactly how many.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final

ANSWERS: Final = ("manual", "accept", "decline", "accept-twice")
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "slow_seconds": (int, float),
    "status": (int, type(None)),
    "status_count": (int,),
    "retry_after_seconds": (int, type(None)),
    "lose_answers": (int,),
    "garble_answers": (int,),
    "double_answers": (int,),
    "refuse_tokens": (int,),
    "conditional_create": (bool,),
    "answer": (str,),
    "answer_after_seconds": (int, float),
}


class UnknownBehaviour(ValueError):
    """The control call names no behaviour of a stand-in, or gives it a value it cannot have."""


@dataclass(slots=True)
class Behaviour:
    """What a stand-in does wrong, or by itself. All off at first.

    slow_seconds: wait before every answer. status, status_count: answer so to the next calls, with Retry-After where
    retry_after_seconds is set. lose_answers: do what the next calls ask, then close the connection without a word.
    garble_answers, double_answers: do what the next calls ask, then answer 200 with what is no JSON, or say the answer twice.
    refuse_tokens: refuse so many token requests. conditional_create: False ignores ifNoneExist, as many servers do.
    answer: what an EHR does with a Task that reaches it, answer_after_seconds later; one of ANSWERS.
    """

    slow_seconds: float = 0
    status: int | None = None
    status_count: int = 0
    retry_after_seconds: int | None = None
    lose_answers: int = 0
    garble_answers: int = 0
    double_answers: int = 0
    refuse_tokens: int = 0
    conditional_create: bool = True
    answer: str = "manual"
    answer_after_seconds: float = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Take over new values. Raises UnknownBehaviour and then changes nothing."""
        # strict JSON reads 0.5 as Decimal
        wanted = {name: float(value) if isinstance(value, Decimal) else value for name, value in wanted.items()}
        for name, value in wanted.items():
            if name not in _KINDS:
                raise UnknownBehaviour(f"unknown behaviour {name}; known: {', '.join(sorted(_KINDS))}")
            numeric = bool not in _KINDS[name]
            if not isinstance(value, _KINDS[name]) or (numeric and isinstance(value, bool)):
                raise UnknownBehaviour(f"{name} cannot have this value")
            if isinstance(value, int | float) and value < 0:
                raise UnknownBehaviour(f"{name} cannot be below zero")
        if wanted.get("answer", "manual") not in ANSWERS:
            raise UnknownBehaviour(f"answer is one of {', '.join(ANSWERS)}")
        if wanted.get("status") is not None and not 400 <= wanted["status"] <= 599:
            raise UnknownBehaviour("status is between 400 and 599")
        with self._lock:
            for name, value in wanted.items():
                setattr(self, name, value)
            if wanted.get("status") is not None and "status_count" not in wanted:
                self.status_count = 1

    def take(self, name: str) -> bool:
        """Use up one of a counted fault: status_count, lose_answers, garble_answers, double_answers or refuse_tokens."""
        with self._lock:
            left: int = getattr(self, name)
            if left > 0:
                setattr(self, name, left - 1)
            return left > 0

    def as_json(self) -> dict[str, Any]:
        """The present values."""
        return {each.name: getattr(self, each.name) for each in fields(self) if not each.name.startswith("_")}
