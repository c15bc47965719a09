"""The smallest valid thing of each kind; a test states only what it is about."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import mappings

_numbers = itertools.count(1)

TEN_ELEMENTS = "all ten elements of 42 CFR 2.31(a)"


def an_rms_message(**changes: Any) -> dict[str, Any]:
    """A diversion request that every service may be asked about; `changes` replace top-level fields (None removes one)."""
    message = copy.deepcopy(mappings.load("rms-diversion").schema["examples"][0])
    message["request_number"] = f"RPD-2026-{next(_numbers):06d}"
    message["revision"] = 1
    message.pop("consents", None)
    for name, value in changes.items():
        if value is None:
            message.pop(name, None)
        else:
            message[name] = value
    return message


def a_patch(*operations: tuple[str, str, Any]) -> list[dict[str, Any]]:
    """A JSON Patch from (op, path, value)."""
    return [{"op": op, "path": path, "value": value} for op, path, value in operations]
