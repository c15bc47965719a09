"""The checks of single elements, as closures over what the facts say of them.

Each takes the JSON value, the object that holds it (a primitive's extensions stand beside it there), that object's path and the Run.
What an element may be called and whether it must be there is decided in structure.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from profiles.narrative import narrative_fault
from profiles.primitives import PRIMITIVES
from profiles.run import Run

Check = Callable[[Any, str, Run], None]  # value, its path, run
Member = Callable[[Any, dict[str, Any], str, Run], None]  # value, the object that holds it, that object's path, run
Test = Callable[[Any], tuple[str, str] | None]  # (issue code, sentence) or None

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


def nothing(_value: Any, _owner: dict[str, Any], _path: str, _run: Run) -> None:
    """resourceType was looked at before the node was chosen."""


def report_shape(value: Any, path: str, run: Run) -> None:
    """Say why a value that should be an object with content is none."""
    if isinstance(value, dict):
        run.add("invariant", path, "ele-1: An object is never empty.")
    else:
        run.add("structure", path, "null stands for nothing here." if value is None else "A JSON object is needed.")


def has_more_than_id(node: dict[str, Any]) -> bool:
    """ele-1, for objects."""
    return len(node) > 1 or "id" not in node


def report_unknown(key: str, path: str, run: Run) -> None:
    """Say that a key is none of the type's; an odd key is not repeated."""
    name = key.removeprefix("_")
    run.add("structure", f"{path}.{name}" if _NAME.fullmatch(name) else path, "This element is not known here.")


def form_test(code: str) -> Test:
    """A test of a primitive's form alone."""
    test = PRIMITIVES[code]

    def form(value: Any) -> tuple[str, str] | None:
        fault = test(value)
        return None if fault is None else ("value", fault)

    return form


def _report(value: Any, fault: tuple[str, str], path: str, run: Run) -> None:
    if value is None:
        run.add("structure", path, "null stands only in an array, beside an extension.")
    elif isinstance(value, dict | list):
        run.add("structure", path, "A single value is needed, not an object or array.")
    else:
        run.add(*fault[:1], path, fault[1])


def value_member(label: str, test: Test) -> Member:
    """A primitive that stands once."""

    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)

    return check


def address_member(label: str, test: Test) -> Member:
    """A uri, url or canonical; "#id" points at a contained resource."""

    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)
        elif value[0] == "#":
            run.scope.pointed_at.add(value[1:])

    return check


def narrative_member(label: str, test: Test) -> Member:
    """Narrative.div."""

    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)
        elif (wrong := narrative_fault(value)) is not None:
            run.add("invariant", f"{path}.{label}", f"{wrong[0]}: {wrong[1]}")

    return check


def values_member(name: str, label: str, test: Test) -> Member:
    """Primitives in an array; null stands where only an extension is."""
    beside = "_" + name

    def check(value: Any, owner: dict[str, Any], path: str, run: Run) -> None:
        if not _is_filled_array(value, f"{path}.{label}", run):
            return
        extensions = owner.get(beside)
        for index, item in enumerate(value):
            if item is None and isinstance(extensions, list) and index < len(extensions) and extensions[index] is not None:
                continue
            fault = test(item)
            if fault is not None:
                _report(item, fault, f"{path}.{label}[{index}]", run)
            elif type(item) is str and item[:1] == "#":
                run.scope.pointed_at.add(item[1:])

    return check


def companion_member(name: str, label: str, companion: Check) -> Member:
    """The id and extensions of a primitive that stands once."""

    def check(value: Any, owner: dict[str, Any], path: str, run: Run) -> None:
        companion(value, f"{path}.{label}", run)
        # An id is enough beside a value only: ele-1 asks for a value or for children other than the id.
        if name not in owner and isinstance(value, dict) and not has_more_than_id(value):
            run.add("invariant", f"{path}.{label}", "ele-1: An element has more than an id.")

    return check


def companions_member(name: str, label: str, companion: Check) -> Member:
    """The ids and extensions of primitives in an array, aligned by index."""

    def check(value: Any, owner: dict[str, Any], path: str, run: Run) -> None:
        if not _is_filled_array(value, f"{path}.{label}", run):
            return
        values = owner.get(name)
        held = len(values) if isinstance(values, list) else 0
        for index, item in enumerate(value):
            if item is not None:
                companion(item, f"{path}.{label}[{index}]", run)
            elif index >= held:
                run.add("structure", f"{path}.{label}[{index}]", "null stands only beside a value or an extension.")

    return check


def single_member(label: str, check_one: Check) -> Member:
    """An object that stands once."""
    return lambda value, _owner, path, run: check_one(value, f"{path}.{label}", run)


def listed_member(label: str, check_one: Check) -> Member:
    """Objects in an array."""

    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        place = f"{path}.{label}"
        if _is_filled_array(value, place, run):
            for index, item in enumerate(value):
                check_one(item, f"{place}[{index}]", run)

    return check


def _is_filled_array(value: Any, path: str, run: Run) -> bool:
    if type(value) is not list:
        run.add("structure", path, "A JSON array is needed.")
        return False
    if not value:
        run.add("structure", path, "An array is never empty.")
        return False
    return True


def has_value_xor_extensions(node: dict[str, Any]) -> bool:
    """ext-1."""
    has_value = any(key.startswith(("value", "_value")) for key in node)
    return has_value != ("extension" in node)


def _is_in_extension(path: str) -> bool:
    holder = path.rpartition(".")[0].rpartition(".")[2]
    return holder.startswith(("extension[", "modifierExtension["))


def is_absolute_extension(node: dict[str, Any], path: str, run: Run) -> None:
    """The url of an extension is absolute; one inside another extension may be named relative to it (extensibility.html#Extension)."""
    url = node.get("url")
    if isinstance(url, str) and url and not _SCHEME.match(url) and not _is_in_extension(path):
        run.add("value", f"{path}.url", "The url of an extension is absolute.")


def size_is_true(node: dict[str, Any]) -> bool:
    """Attachment.size counts the bytes before encoding (datatypes.html#Attachment)."""
    data, size = node.get("data"), node.get("size")
    if not isinstance(data, str) or type(size) is not int:
        return True
    packed = "".join(data.split())
    return size == len(packed) // 4 * 3 - (len(packed) - len(packed.rstrip("=")))
