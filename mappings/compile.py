"""Turn a table into closures, once; a message then only runs them.

List entries are made in the order in which rules first reach them, so a target's index is known when its value is
placed, and the trace needs no second pass. Nothing is placed for a value that is absent: there are no empty elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mappings.code_maps import CodeMap
from mappings.functions import VALUES
from mappings.model import MapIssue, TraceRow
from mappings.readers.json_pointer import MISSING, compile_path, is_relative, pointer_below
from mappings.rules import Condition, Group, ResourceRules, Rule, Step
from mappings.trace import Run, Scope

Fill = Callable[[Run, Scope], None]
Parent = Callable[[Scope], tuple[dict[str, Any], str]]
Holds = Callable[[Any, Any], bool]
Place = Callable[[Run, Scope, Any, str | None], None]


def clone(value: Any) -> Any:
    """A copy of a JSON value: what a table or code map holds must not be reachable through a resource."""
    if isinstance(value, dict):
        return {name: clone(child) for name, child in value.items()}
    return [clone(child) for child in value] if isinstance(value, list) else value


def compile_resource(resource: ResourceRules, maps: Mapping[str, CodeMap]) -> Callable[[Run], dict[str, dict[str, Any]]]:
    """Compile to a closure that returns the resources of one entry by local name; none where its condition fails."""
    group = resource.group
    fills = [_compile_member(member, maps) for member in group.members]
    holds = _compile_conditions(group.when)
    read_items = compile_path(group.each) if group.each else None
    root = resource.type or resource.name

    def build_one(run: Run, name: str, item: Any, pointer: str) -> dict[str, Any]:
        node: dict[str, Any] = {"resourceType": resource.type} if resource.type else {}
        scope = Scope(node, f"{name}:{root}", item, pointer)
        for fill in fills:
            fill(run, scope)
        return node

    def build(run: Run) -> dict[str, dict[str, Any]]:
        if read_items is None:
            return {resource.name: build_one(run, resource.name, None, "")} if holds(run.message, None) else {}
        items = read_items(run.message, None)
        return {
            f"{resource.name}-{index + 1}": build_one(run, f"{resource.name}-{index + 1}", item, f"{group.each}/{index}")
            for index, item in enumerate(items if isinstance(items, list) else ())
            if holds(run.message, item)
        }

    return build


def _compile_member(member: Rule | Group, maps: Mapping[str, CodeMap]) -> Fill:
    return _compile_rule(member, maps) if isinstance(member, Rule) else _compile_group(member, maps)


def _compile_group(group: Group, maps: Mapping[str, CodeMap]) -> Fill:
    fills = [_compile_member(member, maps) for member in group.members]
    holds = _compile_conditions(group.when)
    if group.each is None:

        def fill_together(run: Run, scope: Scope) -> None:
            if holds(run.message, scope.item):
                for fill in fills:
                    fill(run, scope)

        return fill_together
    return _compile_repeat(group.each, group.steps, fills, holds)


def _compile_repeat(each: str, steps: tuple[Step, ...], fills: Sequence[Fill], holds: Holds) -> Fill:
    read_items = compile_path(each)
    parent = _compile_parent(steps[:-1])
    above = "".join(f".{step.name}" for step in steps[:-1])
    name = steps[-1].name

    def fill_items(run: Run, scope: Scope) -> None:
        items = read_items(run.message, scope.item)
        if not isinstance(items, list):
            return
        base = pointer_below(scope.pointer, each)
        for index, item in enumerate(items):
            if not holds(run.message, item):
                continue
            element: dict[str, Any] = {}
            path = f"{scope.path}{above}.{name}[{_length(scope.node, steps)}]"
            inner = Scope(element, path, item, f"{base}/{index}")
            for fill in fills:
                fill(run, inner)
            if element:
                parent(scope)[0].setdefault(name, []).append(element)

    return fill_items


def _length(node: dict[str, Any], steps: tuple[Step, ...]) -> int:
    """How many entries the list at `steps` has; the steps above it are single elements (the checker holds that)."""
    here: Any = node
    for step in steps:
        here = here.get(step.name)
        if here is None:
            return 0
    return len(here)


def _compile_parent(steps: tuple[Step, ...]) -> Parent:
    if not steps:
        return lambda scope: (scope.node, scope.path)
    outer = _compile_parent(steps[:-1])
    name, slot = steps[-1].name, steps[-1].slot
    chain = ".".join(f"{step.name}[{step.slot}]" if step.slot else step.name for step in steps)

    def locate(scope: Scope) -> tuple[dict[str, Any], str]:
        found = scope.places.get(chain)
        if found is not None:
            return found
        node, path = outer(scope)
        child: dict[str, Any]
        if slot is None:
            child = node.setdefault(name, {})
            found = (child, f"{path}.{name}")
        else:
            child = {}
            entries = node.setdefault(name, [])
            found = (child, f"{path}.{name}[{len(entries)}]")
            entries.append(child)
        scope.places[chain] = found
        return found

    return locate


def _compile_conditions(conditions: tuple[Condition, ...]) -> Holds:
    if not conditions:
        return lambda _message, _item: True
    tests = [_compile_condition(condition) for condition in conditions]
    if len(tests) == 1:
        return tests[0]
    return lambda message, item: all(test(message, item) for test in tests)


def _compile_condition(condition: Condition) -> Holds:
    read = compile_path(condition.path)
    if condition.kind == "present":
        return lambda message, item: _is_value(read(message, item))
    if condition.kind == "absent":
        return lambda message, item: not _is_value(read(message, item))
    # True == 1 in Python and not in JSON: kinds are compared as well.
    wanted = {(type(value), value) for value in condition.values}

    def test(message: Any, item: Any) -> bool:
        found = read(message, item)
        return not isinstance(found, (dict, list)) and (type(found), found) in wanted

    return test


def _is_value(value: Any) -> bool:
    """What the rules would place: blank text and empty containers are no value."""
    if isinstance(value, str):
        return bool(value) and not value.isspace()
    return value is not MISSING and (not isinstance(value, (dict, list)) or bool(value))


def _compile_rule(rule: Rule, maps: Mapping[str, CodeMap]) -> Fill:
    holds = _compile_conditions(rule.when) if rule.when else None
    place = _compile_place(rule)
    if not rule.sources:
        fill = _constant(rule, place)
    elif rule.function:
        fill = _through_function(rule, place)
    else:
        fill = _copied(rule, place, maps[rule.code_map] if rule.code_map else None)
    if holds is None:
        return fill

    def fill_if(run: Run, scope: Scope) -> None:
        if holds(run.message, scope.item):
            fill(run, scope)

    return fill_if


def _compile_place(rule: Rule) -> Place:
    """The closure that puts a value at the rule's target and writes the trace row."""
    parent = _compile_parent(rule.steps[:-1])
    name, in_list = rule.steps[-1].name, rule.steps[-1].slot is not None
    rule_id, code_map, function = rule.id, rule.code_map, rule.function
    new_row = tuple.__new__  # half the time of TraceRow(...), which is called for every value

    def place(run: Run, scope: Scope, value: Any, source: str | None) -> None:
        node, path = parent(scope)
        if in_list:
            entries = node.setdefault(name, [])
            target = f"{path}.{name}[{len(entries)}]"
            entries.append(value)
        else:
            target = f"{path}.{name}"
            node[name] = value
        run.rows.append(new_row(TraceRow, (rule_id, source, target, code_map, function)))

    return place


def _constant(rule: Rule, place: Place) -> Fill:
    value = rule.value
    if isinstance(value, dict) and not any(isinstance(child, (dict, list)) for child in value.values()):
        return lambda run, scope: place(run, scope, value.copy(), None)
    if isinstance(value, (dict, list)):
        return lambda run, scope: place(run, scope, clone(value), None)
    return lambda run, scope: place(run, scope, value, None)


def _copied(rule: Rule, place: Place, code_map: CodeMap | None) -> Fill:
    source, form, required = rule.sources[0], rule.form, rule.required
    read, relative = compile_path(source), is_relative(source)
    place_list = _compile_list_place(rule)
    suffix = source[1:] if relative else source

    def one(run: Run, scope: Scope, value: Any, pointer: str) -> Any:
        run.read.add(pointer)
        if isinstance(value, str):
            value = value.strip()  # R4 string: leading and trailing whitespace should be removed
        elif isinstance(value, (dict, list)):
            return _fault(run, scope, rule, "structure", "The field holds a structure where one value is expected.", pointer)
        if value == "":
            return MISSING
        if code_map is None:
            return value
        coded = code_map.translate(value, form)
        if coded is None:
            return _fault(run, scope, rule, "code-invalid", f"The code map {code_map.name} has no such code.", pointer)
        return clone(coded)

    def fill(run: Run, scope: Scope) -> None:
        value = read(run.message, scope.item)
        pointer = scope.pointer + suffix if relative else suffix
        if isinstance(value, list):
            place_list(run, scope, [(one(run, scope, entry, f"{pointer}/{i}"), f"{pointer}/{i}") for i, entry in enumerate(value)])
            return
        found = MISSING if value is MISSING else one(run, scope, value, pointer)
        if found is not MISSING:
            place(run, scope, found, pointer)
        elif required and pointer not in run.read:
            _fault(run, scope, rule, "required", "The field is needed.", pointer)

    return fill


def _compile_list_place(rule: Rule) -> Callable[[Run, Scope, list[tuple[Any, str]]], None]:
    """The closure that fills the target list from a source list, entry by entry."""
    parent = _compile_parent(rule.steps[:-1])
    name = rule.steps[-1].name

    def place_list(run: Run, scope: Scope, entries: list[tuple[Any, str]]) -> None:
        found = [(value, pointer) for value, pointer in entries if value is not MISSING]
        if not found:
            return
        node, path = parent(scope)
        placed = node.setdefault(name, [])
        for value, pointer in found:
            run.rows.append(TraceRow(rule.id, pointer, f"{path}.{name}[{len(placed)}]", rule.code_map))
            placed.append(value)

    return place_list


def _through_function(rule: Rule, place: Place) -> Fill:
    function = VALUES[str(rule.function)]
    reads = [(compile_path(path), path) for path in rule.sources]

    def fill(run: Run, scope: Scope) -> None:
        values = []
        pointers = []
        for read, path in reads:
            value = read(run.message, scope.item)
            values.append(None if value is MISSING else value)
            if value is not MISSING:
                pointer = pointer_below(scope.pointer, path)
                pointers.append(pointer)
                run.read.update(_values_read(value, pointer))
        try:
            result = function(*values)
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):  # only where the schema was not held
            _fault(run, scope, rule, "structure", "The field is not of the shape the schema asks for.", pointers[0] if pointers else "")
            return
        if result is None:
            if rule.required:
                _fault(run, scope, rule, "required", "The field is needed.", pointer_below(scope.pointer, rule.sources[0]))
            return
        place(run, scope, result, pointers[0] if pointers else None)
        last = run.rows[-1]
        run.rows.extend(last._replace(source=pointer) for pointer in pointers[1:])

    return fill


def _values_read(value: Any, pointer: str) -> Sequence[str]:
    """Pointers of what a function used of a source: of a structure only its plain entries, for it may hold fields nobody knows."""
    if isinstance(value, list):
        return [f"{pointer}/{index}" for index, entry in enumerate(value) if not isinstance(entry, (dict, list))]
    return () if isinstance(value, dict) else (pointer,)


def _fault(run: Run, scope: Scope, rule: Rule, code: str, text: str, pointer: str) -> Any:
    element = f"{scope.path.partition(':')[2]}.{'.'.join(step.name for step in rule.steps)}"
    run.issues.append(MapIssue("error", code, text, pointer, (element,)))
    return MISSING
