"""JSON Patch (RFC 6902) on a resource, within limits. Knows nothing of what may be changed: its caller compares."""

from __future__ import annotations

import copy
from typing import Any, Final

import jsonpatch
import jsonpointer

from gateway.errors import Invalid, Malformed, TooCostly
from profiles.issues import Issue
from profiles.strict_json import canonical_json

MAX_OPERATIONS: Final = 100
MAX_BYTES: Final = 1_000_000
_MEMBERS: Final = {
    "add": frozenset({"path", "value"}),
    "replace": frozenset({"path", "value"}),
    "test": frozenset({"path", "value"}),
    "remove": frozenset({"path"}),
    "move": frozenset({"path", "from"}),
    "copy": frozenset({"path", "from"}),
}


def apply_patch(resource: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The resource with the operations applied, all or none; the given one is left as it is.

    patch: a JSON Patch document. Raises Malformed for what is no patch, TooCostly beyond the limits, Invalid (422) for a path that is
    not there or a test that fails, each naming the operation by its pointer in the document.
    """
    if not isinstance(patch, list):
        raise Malformed((Issue("error", "structure", "A JSON Patch is an array of operations (RFC 6902).", (), ""),))
    if len(patch) > MAX_OPERATIONS:
        raise TooCostly
    for place, operation in enumerate(patch):
        _require_operation(operation, place)
    patched: Any = copy.deepcopy(resource)
    for place, operation in enumerate(patch):
        patched = _applied(patched, operation, place)
    if not isinstance(patched, dict):
        raise Invalid((Issue("error", "value", "The patch leaves no resource.", (), ""),))
    for name in ("resourceType", "id"):
        if patched.get(name) != resource.get(name):
            raise Invalid((Issue("error", "value", "A patch changes neither the type nor the id.", (name,)),))
    return patched


def _require_operation(operation: Any, place: int) -> None:
    name_of_op = operation.get("op") if isinstance(operation, dict) else None
    known = _MEMBERS.get(name_of_op) if isinstance(name_of_op, str) else None
    if known is None:
        raise Malformed((Issue("error", "structure", "op is one of add, remove, replace, move, copy, test.", (), f"/{place}/op"),))
    for name in sorted(known - set(operation)):
        raise Malformed((Issue("error", "structure", f"The operation needs {name}.", (), f"/{place}/{name}"),))
    for name in ("path", "from"):
        pointer = operation.get(name)
        if name in known and (not isinstance(pointer, str) or (pointer and not pointer.startswith("/"))):
            raise Malformed((Issue("error", "structure", f"{name} is a JSON Pointer (RFC 6901).", (), f"/{place}/{name}"),))


def _applied(value: Any, operation: dict[str, Any], place: int) -> Any:
    try:
        # one at a time, so that the refusal names the operation
        patched = jsonpatch.JsonPatch([operation]).apply(value, in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        raise Invalid((Issue("error", "conflict", "The test of the patch fails.", (), f"/{place}"),)) from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, IndexError, TypeError, ValueError):
        raise Invalid((Issue("error", "value", "The path of the operation is not there.", (), f"/{place}/path"),)) from None
    if operation["op"] == "copy" and len(canonical_json(patched)) > MAX_BYTES:
        raise TooCostly  # copies of copies grow without bound
    return patched
