"""What a table must hold before it may be used: a faulty one is refused at load, with every defect named.

Checked: source paths exist in the format's schema, maps and functions exist, a map knows every code the schema admits,
no two rules fill one target unless their conditions exclude each other, rule ids are unique, references name resources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import signature
from itertools import combinations
from typing import Any

from mappings.code_maps import CodeMap
from mappings.functions import CHECKS, VALUES
from mappings.readers.json_pointer import is_path, is_relative, steps_of
from mappings.rules import EVERY, Condition, Group, ResourceRules, Rule, Table, walk


def defects_of(table: Table, maps: Mapping[str, CodeMap], message: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> list[str]:
    """Every defect of a table as a sentence; empty when it may be used.

    message: schema of the message. view: of the tree the table reads, where that is another one.
    """
    schema = message if view is None else view
    found = [defect for resource in table.resources for defect in _of_resource(resource, maps, schema)]
    found += _repeated("rule id", [rule.id for resource in table.resources for rule, _, _ in walk(resource.group)])
    found += _repeated("resource", [resource.name for resource in table.resources])
    found += [f"no check {name}" for name in table.checks if name not in CHECKS]
    found += _of_references(table)
    for order in table.orders:
        around = (order.each,) if order.each else ()
        found += [f"order {order.id}: {d}" for path in (order.earlier, order.later) for d in _of_path(path, around, schema)]
    for path in (table.key.number, table.key.revision):
        found += _of_path(path, (), schema) if path is not None else ()
    for path in (*table.withheld.numbers, *table.withheld.phrases):
        found += [f"withheld: {defect}" for defect in _of_path(path.replace(f"/{EVERY}", "/0"), (), message)]
    found += [f"withheld: the schema defines no {name}" for name in table.withheld.texts if name not in message.get("$defs", {})]
    return found


def _of_resource(resource: ResourceRules, maps: Mapping[str, CodeMap], schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_group(resource.name, resource.group, (), schema)
    filled: dict[str, list[tuple[Rule, tuple[Condition, ...]]]] = {}
    for rule, around, repeats in walk(resource.group):
        yield from _of_rule(rule, repeats, maps, schema)
        conditions = tuple(condition for group in around for condition in group.when) + rule.when
        if len(rule.sources) == 1 and rule.function is None:
            conditions += (Condition(rule.sources[0], "present"),)  # a copied value is placed only where there is one
        anchor = "/".join(f"{group.each}{group.steps}" for group in around[1:] if group.each)
        filled.setdefault(f"{anchor}|{rule.target}", []).append((rule, conditions))
    for entries in filled.values():
        for (one, when_one), (other, when_other) in combinations(entries, 2):
            if not _exclusive(when_one, when_other):
                yield f"{resource.name}: rules {one.id} and {other.id} fill the same target {one.target}"


def _of_group(name: str, group: Group, repeats: tuple[str, ...], schema: Mapping[str, Any], *, top: bool = True) -> Iterator[str]:
    if group.each:
        yield from (f"{name}: {defect}" for defect in _of_path(group.each, repeats, schema, repeated=True))
        if not top and (not group.steps or group.steps[-1].slot is None or any(step.slot for step in group.steps[:-1])):
            yield f"{name}: the target of each {group.each} must be one list at the end of single elements"
        repeats = (*repeats, group.each)
    elif group.steps:
        yield f"{name}: a group without each has no target of its own"
    for condition in group.when:
        yield from (f"{name}: {defect}" for defect in _of_path(condition.path, repeats, schema))
    for member in group.members:
        if isinstance(member, Group):
            yield from _of_group(name, member, repeats, schema, top=False)


def _of_rule(rule: Rule, repeats: tuple[str, ...], maps: Mapping[str, CodeMap], schema: Mapping[str, Any]) -> Iterator[str]:
    for path in (*rule.sources, *(condition.path for condition in rule.when)):
        yield from (f"rule {rule.id}: {defect}" for defect in _of_path(path, repeats, schema))
    if rule.function is not None:
        function = VALUES.get(rule.function)
        if function is None:
            yield f"rule {rule.id}: no function {rule.function}"
        elif len(signature(function).parameters) != len(rule.sources):
            yield f"rule {rule.id}: function {rule.function} takes another number of values"
    if rule.code_map is None:
        return
    code_map = maps.get(rule.code_map)
    if code_map is None:
        yield f"rule {rule.id}: no code map {rule.code_map}"
    elif rule.function is None:
        node = schema_at(schema, rule.sources[0], repeats) or {}
        codes = node.get("enum") or resolve(schema, node.get("items", {})).get("enum", ())
        limits = [set(c.values) for c in rule.when if c.kind in ("equals", "in") and c.path == rule.sources[0]]
        for code in codes:
            if not code_map.knows(code) and all(code in limit for limit in limits):
                yield f"rule {rule.id}: code map {rule.code_map} does not know {code}"


def _of_path(path: str, repeats: tuple[str, ...], schema: Mapping[str, Any], *, repeated: bool = False) -> Iterator[str]:
    if not is_path(path):
        yield f"{path} is no source path"
    elif is_relative(path) and not repeats:
        yield f"{path} has no item to start from"
    else:
        node = schema_at(schema, path, repeats)
        if node is None:
            yield f"{path} is not in the schema"
        elif repeated and node.get("type") != "array":
            yield f"{path} is no list in the schema"


def _of_references(table: Table) -> Iterator[str]:
    names = {"sender"} | {resource.name for resource in table.resources if resource.type and not resource.group.each}
    every = {resource.name for resource in table.resources if resource.type}
    for resource in table.resources:
        for rule, _, _ in walk(resource.group):
            for reference in _local_references(rule.value):
                if reference not in names:
                    yield f"rule {rule.id}: refers to {reference}, which is no single resource"
    for collect in table.collects:
        for name in (collect.resource, *collect.of):
            if name not in every:
                yield f"collect {collect.id}: no resource {name}"


def _local_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _local_references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _local_references(child)
    elif isinstance(value, str) and value.startswith("urn:local:"):
        yield value.removeprefix("urn:local:")


def _exclusive(one: tuple[Condition, ...], other: tuple[Condition, ...]) -> bool:
    """Whether no message can meet both: some path is asked for two things that cannot be together."""
    return any(a.path == b.path and _contradict(a, b) for a in one for b in other)


def _contradict(a: Condition, b: Condition) -> bool:
    if "absent" in (a.kind, b.kind):
        return a.kind != b.kind
    return "present" not in (a.kind, b.kind) and not set(a.values) & set(b.values)


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what} {name} stands twice"


def resolve(schema: Mapping[str, Any], node: Any) -> dict[str, Any]:
    """A subschema with its local $ref followed; members beside the $ref stay."""
    found: dict[str, Any] = dict(node) if isinstance(node, Mapping) else {}
    while "$ref" in found:
        target: Any = schema
        for step in steps_of(found.pop("$ref").removeprefix("#")):
            target = target[step]
        found = {**target, **found}
    return found


def schema_at(schema: Mapping[str, Any], path: str, repeats: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The subschema at a source path, below the items of the groups around it; None where the schema has no such field."""
    node = dict(schema)
    if is_relative(path):
        for each in repeats:
            base = node if is_relative(each) else dict(schema)
            below = _below(schema, base, steps_of(each))
            if below is None:
                return None
            node = resolve(schema, below.get("items", {}))
    return _below(schema, node, steps_of(path))


def _below(schema: Mapping[str, Any], node: dict[str, Any], steps: tuple[str, ...]) -> dict[str, Any] | None:
    for step in steps:
        child = node.get("items") if step.isdecimal() else node.get("properties", {}).get(step)
        if child is None:
            return None
        node = resolve(schema, child)
    return node
