"""From facts to checkers: one Node for a type, one closure for each element, made when first met.

A Node knows which names an object may have, which must be there and which rules hold; what the values mean is left to primitives,
bindings, references and the rule tables. Refuses nothing by itself: it reports to the Run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from profiles.bindings import bound_code, bound_concept
from profiles.facts import ElementFact, Facts
from profiles.narrative import narrative_fault
from profiles.primitives import PRIMITIVES
from profiles.references import reference_rule, target_rule
from profiles.rules_of_resources import rules_of
from profiles.run import Run

Check = Callable[[Any, str, Run], None]  # value, its path, run
Member = Callable[[Any, dict[str, Any], str, Run], None]  # value, the object that holds it, that object's path, run
Test = Callable[[Any], tuple[str, str] | None]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
# Element.id and Extension.url are XML attributes, which have no room for extensions.
_BARE: Final = frozenset({"Extension.url"})


class Node:
    """The checker of one type; `members` is filled by Structure.complete() before first use."""

    __slots__ = ("choices", "members", "name", "required", "rules", "surroundings")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, Member] | None = None
        self.required: list[tuple[str, frozenset[str]]] = []
        self.choices: list[tuple[str, dict[str, str]]] = []
        self.rules: list[tuple[Callable[[dict[str, Any]], bool], str]] = []
        self.surroundings: list[Callable[[dict[str, Any], str, Run], None]] = []


class Structure:
    """All nodes of one set of facts."""

    def __init__(self, facts: Facts, check_resource: Check) -> None:
        self.facts = facts
        self._check_resource = check_resource
        self._nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        """The node of a type or backbone path; incomplete until it is checked for the first time."""
        made = self._nodes.get(name)
        if made is None:
            made = self._nodes[name] = Node(name)
        return made

    def check(self, node: Node, value: Any, path: str, run: Run) -> None:
        """Hold one object to its type."""
        members = node.members
        if members is None:
            members = self._complete(node)
        if type(value) is not dict or not value:
            _report_shape(value, path, run)
            return
        run.enter(path)
        for key, item in value.items():
            member = members.get(key)
            if member is None:
                _unknown(key, path, run)
            else:
                member(item, value, path, run)
        for name, names in node.required:
            if names.isdisjoint(value):
                run.add("required", f"{path}.{name}", "This element is needed.")
        for name, types in node.choices:
            if len({types[key] for key in types.keys() & value.keys()}) > 1:
                run.add("structure", f"{path}.{name}", "Only one type of this element may stand.")
        for holds, says in node.rules:
            if not holds(value):
                run.add("invariant", path, says)
        for surrounding in node.surroundings:
            surrounding(value, path, run)
        run.depth -= 1

    def _complete(self, node: Node) -> dict[str, Member]:
        fact = self.facts.types[node.name]
        members: dict[str, Member] = {}
        required: list[tuple[str, frozenset[str]]] = []
        choices: list[tuple[str, dict[str, str]]] = []
        if fact.get("kind") == "resource":
            members["resourceType"] = _nothing
        for written, element in fact["elements"].items():
            made = self._members(node.name, written, element)
            members.update(made)
            stem = written.removesuffix("[x]")
            if element.get("min"):
                required.append((stem, frozenset(made)))
            if written != stem:
                choices.append((stem, {name: name.removeprefix("_") for name in made}))
        node.rules = rules_of(node.name, fact.get("rules", ()))
        if fact.get("kind") != "resource" and node.name != "Element":
            node.rules.append((_has_more_than_id, "ele-1: An element has more than an id."))
        if node.name == "Extension":
            node.rules.append((_has_value_xor_extensions, "ext-1: An extension has either a value or extensions."))
        if node.name == "Reference":
            node.surroundings.append(reference_rule(self.facts.resource_types))
        if node.name == "Attachment":
            node.rules.append((_size_is_true, "The size of an attachment is that of its data."))
        node.required, node.choices = required, choices
        # Last, because another thread may be reading: only a whole node has members.
        node.members = members
        return members

    def _members(self, owner: str, written: str, element: ElementFact) -> dict[str, Member]:
        if "like" in element:
            return (
                {written: self._complex(written, self._of(element["like"], element))}
                if element.get("max", "1") == "1"
                else {written: _listed(written, self._of(element["like"], element))}
            )
        made: dict[str, Member] = {}
        stem = written.removesuffix("[x]")
        for declared in element["types"]:
            code, targets = (declared, None) if isinstance(declared, str) else next(iter(declared.items()))
            typed = "Quantity" if code == "SimpleQuantity" else code
            name = stem if stem == written else stem + typed[:1].upper() + typed[1:]
            label = stem if stem == written else f"{stem}.ofType({typed})"
            repeats = element.get("max", "1") != "1"
            if code in PRIMITIVES:
                made.update(self._primitive(owner, name, label, code, element, repeats))
            else:
                check = self._typed(code, targets, element)
                made[name] = _listed(label, check) if repeats else self._complex(label, check)
        return made

    def _complex(self, label: str, check: Check) -> Member:
        return lambda value, _owner, path, run: check(value, f"{path}.{label}", run)

    def _of(self, name: str, element: ElementFact) -> Check:
        node, check = self.node(name), self.check
        rules = rules_of(name, element.get("rules", ()))
        if not rules:
            return lambda value, path, run: check(node, value, path, run)

        def ruled(value: Any, path: str, run: Run) -> None:
            check(node, value, path, run)
            for holds, says in rules:
                if isinstance(value, dict) and not holds(value):
                    run.add("invariant", path, says)

        return ruled

    def _typed(self, code: str, targets: list[str] | None, element: ElementFact) -> Check:
        if code == "Resource" or self.facts.types[code].get("kind") == "resource":
            return self._check_resource
        base = self._of(code, element)
        more: Check | None = None
        if targets is not None and code == "Reference":
            more = target_rule(frozenset(targets), self.facts.resource_types)
        elif "binding" in element:
            more = bound_concept(self.facts, element["binding"], code)
        if more is None:
            return base
        extra = more

        def both(value: Any, path: str, run: Run) -> None:
            base(value, path, run)
            extra(value, path, run)

        return both

    def _primitive(self, owner: str, name: str, label: str, code: str, element: ElementFact, repeats: bool) -> dict[str, Member]:
        is_resource = self.facts.types[owner].get("kind") == "resource"
        if name == "id" and is_resource:
            code = "id"  # the published definition says string, the prose and the pattern of ids say id
        test = bound_code(self.facts, element["binding"], code) if "binding" in element else _form(code)
        if repeats:
            check = _values(name, label, test)
        elif code in ("uri", "url", "canonical"):
            check = _address(label, test)
        elif code == "xhtml":
            check = _narrative(label, test)
        else:
            check = _value(label, test)
        if f"{owner}.{name}" in _BARE or (name == "id" and not is_resource):
            return {name: check}
        companion = self._of("Element", {})
        return {name: check, "_" + name: _companions(name, label, companion) if repeats else _companion(name, label, companion)}


def _nothing(_value: Any, _owner: dict[str, Any], _path: str, _run: Run) -> None:
    """resourceType was looked at before the node was chosen."""


def _report_shape(value: Any, path: str, run: Run) -> None:
    if isinstance(value, dict):
        run.add("invariant", path, "ele-1: An object is never empty.")
    else:
        run.add("structure", path, "null stands for nothing here." if value is None else "A JSON object is needed.")


def _has_more_than_id(node: dict[str, Any]) -> bool:
    return len(node) > 1 or "id" not in node


def _unknown(key: str, path: str, run: Run) -> None:
    name = key.removeprefix("_")
    run.add("structure", f"{path}.{name}" if _NAME.fullmatch(name) else path, "This element is not known here.")


def _form(code: str) -> Test:
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


def _value(label: str, test: Test) -> Member:
    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)

    return check


def _address(label: str, test: Test) -> Member:
    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)
        elif value[0] == "#":
            run.scope.pointed_at.add(value[1:])

    return check


def _narrative(label: str, test: Test) -> Member:
    def check(value: Any, _owner: dict[str, Any], path: str, run: Run) -> None:
        fault = test(value)
        if fault is not None:
            _report(value, fault, f"{path}.{label}", run)
        elif (wrong := narrative_fault(value)) is not None:
            run.add("invariant", f"{path}.{label}", f"{wrong[0]}: {wrong[1]}")

    return check


def _values(name: str, label: str, test: Test) -> Member:
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


def _companion(name: str, label: str, companion: Check) -> Member:
    def check(value: Any, owner: dict[str, Any], path: str, run: Run) -> None:
        companion(value, f"{path}.{label}", run)
        # An id is enough beside a value only: ele-1 asks for a value or for children other than the id.
        if name not in owner and isinstance(value, dict) and not _has_more_than_id(value):
            run.add("invariant", f"{path}.{label}", "ele-1: An element has more than an id.")

    return check


def _companions(name: str, label: str, companion: Check) -> Member:
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


def _listed(label: str, check_one: Check) -> Member:
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


def _has_value_xor_extensions(node: dict[str, Any]) -> bool:
    has_value = any(key.startswith(("value", "_value")) for key in node)
    return has_value != ("extension" in node)


def _size_is_true(node: dict[str, Any]) -> bool:
    data, size = node.get("data"), node.get("size")
    if not isinstance(data, str) or type(size) is not int:
        return True
    packed = "".join(data.split())
    return size == len(packed) // 4 * 3 - (len(packed) - len(packed.rstrip("=")))
