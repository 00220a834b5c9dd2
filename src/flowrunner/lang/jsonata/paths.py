"""Compiles paths: steps, predicates, order-by, and the tuple streams behind ``@``, ``#`` and ``%``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from flowrunner.lang.jsonata.groups import group_code
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.parse import Node, well_formed
from flowrunner.lang.jsonata.values import UNDEFINED, Array, Code, Compile, Frame, Run, Sequence, Tuples, boolean, is_number, sequence

Items = Any  # a list, or UNDEFINED
Step = Callable[[Items, Frame], Items]
Stage = Callable[[Any, Frame], Any]


def path(node: Node, compile_node: Compile) -> Code:
    """``a.b[c].d``: a result sequence, not yet normal."""
    steps = node.steps
    absolute = steps[0].type == "variable"
    if any(step.tuple is not None for step in steps):
        general = _tuple_path(node, compile_node, absolute=absolute)
    else:
        general = _plain_path(node, compile_node, absolute=absolute)
    if len(steps) > 1 and absolute and steps[0].value and all(_bare(step) for step in steps) and not node.keep_singleton_array and node.group is None:
        return _names_path(str(steps[0].value), [well_formed(str(step.value)) for step in steps[1:]], general)
    return general


def _bare(step: Node) -> bool:
    """Whether a step is only a name, or the variable a path begins with."""
    return step.type in {"name", "variable"} and not (step.predicate or step.stages or step.group or step.keep_array) and step.tuple is None


def _names_path(first: str, keys: list[str], general: Code) -> Code:
    """``$states.input.a``: as long as every value is an object there is no sequence to make."""

    def walk(focus: Any, frame: Frame) -> Any:
        value = frame.lookup(first)
        for key in keys:
            if not isinstance(value, dict):
                return general(focus, frame) if isinstance(value, list) else UNDEFINED
            value = value.get(key, UNDEFINED)
        return value

    return walk


def _start(focus: Any, *, absolute: bool) -> Items:
    return focus if isinstance(focus, list) and not absolute else sequence(focus)


def _plain_path(node: Node, compile_node: Compile, *, absolute: bool) -> Code:
    last = len(node.steps) - 1
    first = compile_node(node.steps[0]) if node.steps[0].consarray else None
    steps = [_step(step, compile_node, last=index == last) for index, step in enumerate(node.steps)]
    if first is not None:
        del steps[0]
    keep = bool(node.keep_singleton_array)
    grouping = group_code(node.group, compile_node) if node.group is not None else None

    def walk(focus: Any, frame: Frame) -> Any:
        items = _start(focus, absolute=absolute)
        if first is not None:
            items = first(items, frame)
        if items is not UNDEFINED and not (first is not None and not items):
            if not isinstance(items, list):
                items = [items]
            for step in steps:
                items = step(items, frame)
                if not items:
                    break
        if keep:
            items = _kept(items)
        return items if grouping is None else grouping(items, frame)

    return walk


def _kept(items: Items) -> Items:
    """With ``[]`` in a path a single result stays an array."""
    if isinstance(items, Array) and items.cons and not isinstance(items, Sequence):
        items = sequence(items)
    if isinstance(items, Sequence):
        items.keep = True
    return items


def _stages(step: Node, compile_node: Compile) -> list[Stage]:
    return [filter_code(stage.expr, compile_node) for stage in step.stages or () if stage.type == "filter"]


def _step(step: Node, compile_node: Compile, *, last: bool) -> Step:
    """One step: its value for each item, flattened into one sequence."""
    if step.type == "sort":
        return _sort_step(step, compile_node)
    code = compile_node(step)
    stages = _stages(step, compile_node)
    key = well_formed(str(step.value)) if _bare(step) and step.type == "name" else None

    def advance(items: Items, frame: Frame) -> Items:
        frame.run.spend(len(items))
        made = Sequence()
        count, only = 0, None
        for item in items:
            value = item.get(key, UNDEFINED) if key is not None and isinstance(item, dict) else code(item, frame)
            for stage in stages:
                value = stage(value, frame)
            if value is UNDEFINED:
                continue
            count += 1
            if isinstance(value, list):
                only = value
                if isinstance(value, Array) and value.cons:
                    made.append(value)
                else:
                    frame.run.spend(len(value))
                    made.extend(value)
            else:
                made.append(value)
        if last and count == 1 and only is not None and not isinstance(only, Sequence):
            return only
        return made

    return advance


def filter_code(predicate: Node, compile_node: Compile) -> Stage:
    """``[predicate]``: by position for numbers, by truth for the rest."""
    if predicate.type == "number":
        position = math.floor(predicate.value)

        def pick(value: Any, _frame: Frame) -> Any:
            if value is UNDEFINED:
                return value
            items = value if isinstance(value, list) else [value]
            index = position + len(items) if position < 0 else position
            if not 0 <= index < len(items):
                return UNDEFINED
            if type(items) is Tuples:
                return _tuples([items[index]])
            return items[index] if isinstance(items[index], list) else sequence(items[index])

        return pick
    test = compile_node(predicate)

    def keep(value: Any, frame: Frame) -> Any:
        if value is UNDEFINED:
            return value
        items = value if isinstance(value, list) else [value]
        frame.run.spend(len(items))
        streams = type(items) is Tuples
        made: Sequence = Tuples() if streams else Sequence()
        size = len(items)
        for index, item in enumerate(items):
            answer = test(item["@"], _tuple_frame(frame, item)) if streams else test(item, frame)
            if answer is True or (answer is not False and _chosen(answer, index, size, frame.run)):
                made.append(item)
        return made

    return keep


def _chosen(answer: Any, index: int, size: int, run: Run) -> bool:
    if isinstance(answer, list):
        run.spend(len(answer) >> 2)
    if isinstance(answer, list) and type(answer) is not Tuples and answer and all(is_number(part) for part in answer):
        return any(math.floor(part) in {index, index - size} for part in answer)
    if is_number(answer):
        return math.floor(answer) in {index, index - size}
    return boolean(answer, run)


def _tuples(items: list[Any]) -> Tuples:
    made = Tuples()
    made.extend(items)
    return made


def _tuple_frame(frame: Frame, names: dict[str, Any]) -> Frame:
    return Frame(dict(names), frame, frame.run)


def _tuple_path(node: Node, compile_node: Compile, *, absolute: bool) -> Code:
    """A path in which steps bind names: from the first such step on, a stream of tuples flows instead of values."""
    steps = node.steps
    first_tuple = next(index for index, step in enumerate(steps) if step.tuple is not None)
    cons = compile_node(steps[0]) if steps[0].consarray else None
    plain = [_step(step, compile_node, last=index == len(steps) - 1) for index, step in enumerate(steps[:first_tuple])]
    streams = [_tuple_step(step, compile_node) for step in steps[first_tuple:]]
    keep, carries = bool(node.keep_singleton_array), node.tuple is not None
    grouping = group_code(node.group, compile_node) if node.group is not None else None

    def walk(focus: Any, frame: Frame) -> Any:
        items = _start(focus, absolute=absolute)
        made: Any = UNDEFINED
        for index, step in enumerate(plain):
            items = cons(items, frame) if index == 0 and cons is not None else step(items, frame)
            if items is UNDEFINED or not items:
                made = items
                break
        else:
            bindings: Tuples | None = None
            for stream in streams:
                bindings = stream(items, bindings, frame)
            made = bindings
        if type(made) is Tuples and not carries and grouping is None:
            made = _values_of(made)
        if keep:
            made = _kept(made)
        return made if grouping is None else grouping(made, frame)

    return walk


def _values_of(bindings: Tuples) -> Sequence:
    made = Sequence()
    made.extend([binding["@"] for binding in bindings])
    return made


def _tuple_step(step: Node, compile_node: Compile) -> Callable[[Items, Tuples | None, Frame], Tuples]:
    stages = [(_index_stage(stage) if stage.type == "index" else filter_code(stage.expr, compile_node)) for stage in step.stages or ()]
    focus_name, index_name = step.focus, step.index
    ancestor = step.ancestor
    sort = _sorter(step, compile_node) if step.type == "sort" else None
    code = None if sort is not None else compile_node(step)

    def advance(items: Items, bindings: Tuples | None, frame: Frame) -> Tuples:
        run = frame.run
        made: Any = Tuples()
        if sort is not None:
            if bindings is not None:
                made = _tuples(sort(bindings, frame))
            else:
                ordered = sort(items, frame)
                made.extend({"@": item, str(index_name): index} for index, item in enumerate(ordered))
        elif code is not None:
            if bindings is None:
                bindings = _tuples([{"@": item} for item in items])
            run.spend(len(bindings))
            for binding in bindings:
                value = code(binding["@"], _tuple_frame(frame, binding))
                if value is UNDEFINED:
                    continue
                values = value if isinstance(value, list) else [value]
                run.spend(len(values) * 2)
                for index, item in enumerate(values):
                    entry = dict(binding)
                    if type(values) is Tuples:
                        entry.update(item)
                    else:
                        if focus_name is not None:
                            entry[focus_name] = item
                        else:
                            entry["@"] = item
                        if index_name is not None:
                            entry[index_name] = index
                        if ancestor is not None:
                            entry[ancestor.label] = binding["@"]
                    made.append(entry)
        for stage in stages:
            made = stage(made, frame)
            if made is UNDEFINED:
                made = Tuples()
        return made if type(made) is Tuples else _tuples(made)

    return advance


def _index_stage(stage: Node) -> Stage:
    name = str(stage.value)

    def number_items(items: Any, frame: Frame) -> Any:
        frame.run.spend(len(items))
        return _tuples([{**item, name: index} for index, item in enumerate(items)])

    return number_items


def _sort_step(step: Node, compile_node: Compile) -> Step:
    sort, stages = _sorter(step, compile_node), _stages(step, compile_node)

    def advance(items: Items, frame: Frame) -> Items:
        made: Any = sort(items, frame)
        for stage in stages:
            made = stage(made, frame)
        return made

    return advance


def _sorter(step: Node, compile_node: Compile) -> Callable[[list[Any], Frame], Sequence]:
    """``^(a, >b)``: stable; the terms of an item are evaluated once, and only when a comparison needs them."""
    terms = [(compile_node(term.expression), -1 if term.descending else 1) for term in step.terms]

    def sort(items: list[Any], frame: Frame) -> Sequence:
        streams = type(items) is Tuples
        frame.run.spend(len(items) * max(1, len(items).bit_length()) * len(terms))
        known: list[dict[int, Any]] = [{} for _ in items]

        def term_of(position: int, term: int) -> Any:
            values = known[position]
            if term not in values:
                item = items[position]
                values[term] = terms[term][0](item["@"], _tuple_frame(frame, item)) if streams else terms[term][0](item, frame)
            return values[term]

        def compare(left: int, right: int) -> int:
            for index, (_, direction) in enumerate(terms):
                order = _order(term_of(left, index), term_of(right, index), direction, frame.run)
                if order:
                    return order
            return 0

        made = Sequence()
        made.extend(items[position] for position in sorted(range(len(items)), key=functools.cmp_to_key(compare)))
        return made

    return sort


def _order(left: Any, right: Any, direction: int, run: Run) -> int:
    if left is UNDEFINED or right is UNDEFINED:  # undefined goes last, whatever the direction
        return (left is UNDEFINED) - (right is UNDEFINED)
    kinds = _sortable(left), _sortable(right)
    if not all(kinds):
        raise failure("T2008", value=left, value2=right)
    if kinds[0] != kinds[1]:
        raise failure("T2007", value=left, value2=right)
    if kinds[0] == "text":
        run.scan(2 * min(len(left), len(right)))
    return direction * (int(left > right) - int(left < right))


def _sortable(value: Any) -> str:
    kind = type(value)
    return "text" if kind is str else "number" if kind is int or kind is float else ""
