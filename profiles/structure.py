"""From facts to checkers: one Node for a type, one closure for each element, made when first met.

A Node knows which names an object may have, which must be there and which rules hold; what the values mean is left to primitives,
bindings, references and the rule tables. Refuses nothing by itself: it reports to the Run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from profiles.bindings import bound_code, bound_concept
from profiles.elements import (
    Check,
    Member,
    address_member,
    companion_member,
    companions_member,
    form_test,
    has_more_than_id,
    has_value_xor_extensions,
    is_absolute_extension,
    listed_member,
    narrative_member,
    nothing,
    report_shape,
    report_unknown,
    single_member,
    size_is_true,
    value_member,
    values_member,
)
from profiles.facts import ElementFact, Facts
from profiles.primitives import PRIMITIVES
from profiles.references import reference_rule, target_rule
from profiles.rules_of_resources import rules_of
from profiles.run import Run

# Extension.url is an XML attribute, as Element.id is: no room for extensions.
_BARE: Final = frozenset({"Extension.url"})


class Plan(NamedTuple):
    """What one type asks of an object; made whole, so that a thread never sees half of it.

    required: (name, keys of which one must be there). choices: (name, key -> key without underscore). rules: (test, sentence).
    """

    members: dict[str, Member]
    required: list[tuple[str, frozenset[str]]]
    choices: list[tuple[str, dict[str, str]]]
    rules: list[tuple[Callable[[dict[str, Any]], bool], str]]
    surroundings: list[Callable[[dict[str, Any], str, Run], None]]


class Node:
    """The checker of one type; its plan is made when the first such object is met."""

    __slots__ = ("name", "plan")

    def __init__(self, name: str) -> None:
        self.name = name
        self.plan: Plan | None = None


class Structure:
    """All nodes of one set of facts."""

    def __init__(self, facts: Facts, check_resource: Check) -> None:
        self._facts = facts
        self._check_resource = check_resource
        self._nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        """The node of a type or backbone path; types refer to themselves, so it may not have its plan yet."""
        return self._nodes.setdefault(name, Node(name))

    def check(self, node: Node, value: Any, path: str, run: Run) -> None:
        """Hold one object to its type."""
        plan = node.plan
        if plan is None:
            plan = node.plan = self._plan(node.name)
        if type(value) is not dict or not value:
            report_shape(value, path, run)
            return
        run.enter(path)
        members = plan.members
        for key, item in value.items():
            member = members.get(key)
            if member is None:
                report_unknown(key, path, run)
            else:
                member(item, value, path, run)
        for name, names in plan.required:
            if names.isdisjoint(value):
                run.add("required", f"{path}.{name}", "This element is needed.")
        for name, types in plan.choices:
            if len({types[key] for key in types.keys() & value.keys()}) > 1:
                run.add("structure", f"{path}.{name}", "Only one type of this element may stand.")
        for holds, says in plan.rules:
            if not holds(value):
                run.add("invariant", path, says)
        for surrounding in plan.surroundings:
            surrounding(value, path, run)
        run.depth -= 1

    def _plan(self, type_name: str) -> Plan:
        fact = self._facts.types[type_name]
        is_resource = fact.get("kind") == "resource"
        plan = Plan({}, [], [], rules_of(type_name, fact.get("rules", ())), [])
        if is_resource:
            plan.members["resourceType"] = nothing
        elif type_name != "Element":  # beside a primitive an id is enough when there is a value: see companion_member
            plan.rules.append((has_more_than_id, "ele-1: An element has more than an id."))
        for written, element in fact["elements"].items():
            made = self._members(type_name, written, element)
            plan.members.update(made)
            stem = written.removesuffix("[x]")
            if element.get("min"):
                plan.required.append((stem, frozenset(made)))
            if written != stem:
                plan.choices.append((stem, {name: name.removeprefix("_") for name in made}))
        if type_name == "Extension":
            plan.rules.append((has_value_xor_extensions, "ext-1: An extension has either a value or extensions."))
            plan.surroundings.append(is_absolute_extension)
        if type_name == "Reference":
            plan.surroundings.append(reference_rule(self._facts.resource_types))
        if type_name == "Attachment":
            plan.rules.append((size_is_true, "The size of an attachment is that of its data."))
        return plan

    def _members(self, owner: str, written: str, element: ElementFact) -> dict[str, Member]:
        """The JSON keys an element may have: one, or two for a primitive, or those of every type of a choice."""
        repeats = element.get("max", "1") != "1"
        if "like" in element:
            of = self._of(element["like"], element)
            return {written: listed_member(written, of) if repeats else single_member(written, of)}
        made: dict[str, Member] = {}
        stem = written.removesuffix("[x]")
        for declared in element["types"]:
            code, targets = (declared, None) if isinstance(declared, str) else next(iter(declared.items()))
            typed = "Quantity" if code == "SimpleQuantity" else code
            name = stem if stem == written else stem + typed[:1].upper() + typed[1:]
            label = stem if stem == written else f"{stem}.ofType({typed})"
            if code in PRIMITIVES:
                made.update(self._primitive(owner, name, label, code, element, repeats))
            else:
                check = self._typed(code, targets, element)
                made[name] = listed_member(label, check) if repeats else single_member(label, check)
        return made

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
        if code == "Resource" or self._facts.types[code].get("kind") == "resource":
            return self._check_resource
        base = self._of(code, element)
        more: Check | None = None
        if targets is not None and code == "Reference":
            more = target_rule(frozenset(targets), self._facts.resource_types)
        elif "binding" in element:
            more = bound_concept(self._facts, element["binding"], code)
        if more is None:
            return base
        extra = more

        def both(value: Any, path: str, run: Run) -> None:
            base(value, path, run)
            extra(value, path, run)

        return both

    def _primitive(self, owner: str, name: str, label: str, code: str, element: ElementFact, repeats: bool) -> dict[str, Member]:
        is_resource = self._facts.types[owner].get("kind") == "resource"
        if name == "id" and is_resource:
            code = "id"  # the published definition says string, the prose and the pattern of ids say id
        test = bound_code(self._facts, element["binding"], code) if "binding" in element else form_test(code)
        if repeats:
            check = values_member(name, label, test)
        elif code in ("uri", "url", "canonical"):
            check = address_member(label, test)
        elif code == "xhtml":
            check = narrative_member(label, test)
        else:
            check = value_member(label, test)
        if f"{owner}.{name}" in _BARE or (name == "id" and not is_resource):
            return {name: check}
        companion = self._of("Element", {})
        return {name: check, "_" + name: companions_member(name, label, companion) if repeats else companion_member(name, label, companion)}
