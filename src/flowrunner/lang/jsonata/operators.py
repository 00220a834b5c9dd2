"""Compiles everything but paths and calls: literals, operators, constructors, conditions, blocks, variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.parse import Node, well_formed
from flowrunner.lang.jsonata.values import (
    UNDEFINED,
    Array,
    Code,
    Compile,
    Frame,
    Run,
    Sequence,
    Wrapper,
    boolean,
    extend,
    is_number,
    normal,
    number,
    same,
)

MAX_RANGE_ITEMS = 10_000_000  # JSONata's own limit (D2014); the step budget ends larger ranges than it allows first
_EXACT = 1 << 53  # whole numbers up to here are exact as doubles


def literal(node: Node, _compile: Compile) -> Code:
    """A string, a number, true, false or null."""
    value = well_formed(node.value) if isinstance(node.value, str) else node.value
    return lambda _focus, _frame: value


def regex(node: Node, _compile: Compile) -> Code:
    """A regular expression: a function."""
    value = node.value
    return lambda _focus, _frame: value


def variable(node: Node, _compile: Compile) -> Code:
    """``$name``, or ``$`` for the context value."""
    name = str(node.value)
    if not name:
        return lambda focus, _frame: focus[0] if type(focus) is Wrapper else normal(focus)

    def look_up(_focus: Any, frame: Frame) -> Any:
        value = frame.lookup(name)
        return normal(value) if type(value) is Sequence else value

    return look_up


def parent(node: Node, _compile: Compile) -> Code:
    """``%``: bound by the step it climbs over, under a name of the parser's."""
    label = node.slot

    def look_up(_focus: Any, frame: Frame) -> Any:
        return frame.lookup(label.label)

    return look_up


def name(node: Node, _compile: Compile) -> Code:
    """A field of the context value."""
    key = well_formed(str(node.value))

    def read(focus: Any, frame: Frame) -> Any:
        return focus.get(key, UNDEFINED) if isinstance(focus, dict) else normal(field(focus, key, frame))

    return read


def field(value: Any, key: str, frame: Frame) -> Any:
    """The field of an object; of an array, a sequence of its items' fields."""
    if isinstance(value, list):
        frame.run.spend(len(value))
        made = Sequence()
        for item in value:
            found = item.get(key, UNDEFINED) if isinstance(item, dict) else field(item, key, frame)
            if found is not UNDEFINED:
                extend(made, found, frame.run)
        return made
    return value.get(key, UNDEFINED) if isinstance(value, dict) else UNDEFINED


def wildcard(_node: Node, _compile: Compile) -> Code:
    """``*``: all fields of the context value."""

    def collect(focus: Any, frame: Frame) -> Any:
        value = focus[0] if type(focus) is Wrapper and focus else focus
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        made: Array = Sequence()
        frame.run.spend(len(parts))
        for part in parts:
            if isinstance(part, list):
                if type(made) is Sequence:
                    made = Array(made)  # JavaScript's concat: no longer a result sequence
                _flatten(part, made, frame)
            else:
                made.append(part)
        return made

    return collect


def _flatten(value: Any, into: list[Any], frame: Frame) -> None:
    if isinstance(value, list):
        frame.run.spend(len(value))
        for item in value:
            _flatten(item, into, frame)
    else:
        into.append(value)


def descendants(_node: Node, _compile: Compile) -> Code:
    """``**``: the context value and everything in it, in document order."""

    def collect(focus: Any, frame: Frame) -> Any:
        made = Sequence()
        if focus is UNDEFINED:
            return UNDEFINED
        stack = [focus]
        while stack:
            value = stack.pop()
            frame.run.spend(1)
            if isinstance(value, list):
                stack.extend(reversed(value))
                continue
            made.append(value)
            if isinstance(value, dict):
                stack.extend(reversed(value.values()))
        return made

    return collect


def binary(node: Node, compile_node: Compile) -> Code:
    """``a op b``."""
    operator = str(node.value)
    left, right = compile_node(node.lhs), compile_node(node.rhs)
    if operator == "and":
        return lambda focus, frame: boolean(left(focus, frame), frame.run) and boolean(right(focus, frame), frame.run)
    if operator == "or":
        return lambda focus, frame: boolean(left(focus, frame), frame.run) or boolean(right(focus, frame), frame.run)
    if operator in ARITHMETIC:
        compute = ARITHMETIC[operator]
        return lambda focus, frame: arithmetic(left(focus, frame), right(focus, frame), operator, compute)
    if operator in COMPARE:
        compare = COMPARE[operator]
        return lambda focus, frame: comparison(left(focus, frame), right(focus, frame), operator, compare, frame.run)
    build = _OTHERS.get(operator)
    if build is None:
        raise failure("S0204", token=operator)
    return lambda focus, frame: build(left(focus, frame), right(focus, frame), frame)


def _divide(a: float, b: float) -> float:
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)  # noqa: PLR0124
    return float(a) / float(b)


def _modulo(a: float, b: float) -> float:
    return math.nan if b == 0 else math.fmod(a, b)


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _modulo,
}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def arithmetic(left: Any, right: Any, operator: str, compute: Callable[[Any, Any], Any]) -> Any:
    """As doubles: exact for whole numbers up to 2^53, as in JavaScript."""
    if type(left) is int and type(right) is int and -_EXACT < left < _EXACT and -_EXACT < right < _EXACT and operator in "+-":
        return compute(left, right)
    if left is not UNDEFINED and not is_number(left):
        raise failure("T2001", token=operator, value=left)
    if right is not UNDEFINED and not is_number(right):
        raise failure("T2002", token=operator, value=right)
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    try:
        return number(compute(float(left), float(right)))
    except OverflowError:
        raise failure("D1001", value=str(left)) from None


def comparison(left: Any, right: Any, operator: str, compare: Callable[[Any, Any], bool], run: Run) -> Any:
    """Numbers with numbers, strings with strings."""
    kinds = _comparable(left), _comparable(right)
    if not all(kinds):
        raise failure("T2010", token=operator, value=left)
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    if kinds[0] != kinds[1]:
        raise failure("T2009", value=left, value2=right, token=operator)
    if kinds[0] == "text":
        run.scan(min(len(left), len(right)))
    return compare(left, right)


def _comparable(value: Any) -> str:
    kind = type(value)
    return "text" if kind is str else "number" if kind is int or kind is float else "none" if value is UNDEFINED else ""


def _equal(left: Any, right: Any, frame: Frame) -> bool:
    return left is not UNDEFINED and right is not UNDEFINED and same(left, right, frame.run)


def _unequal(left: Any, right: Any, frame: Frame) -> bool:
    return left is not UNDEFINED and right is not UNDEFINED and not same(left, right, frame.run)


def _within(left: Any, right: Any, frame: Frame) -> bool:
    if left is UNDEFINED or right is UNDEFINED:
        return False
    items = right if isinstance(right, list) else [right]
    frame.run.spend(len(items))
    return any(not isinstance(item, (list, dict)) and same(item, left, frame.run) for item in items)


def _range(left: Any, right: Any, frame: Frame) -> Any:
    if left is not UNDEFINED and not _whole(left):
        raise failure("T2003", value=left)
    if right is not UNDEFINED and not _whole(right):
        raise failure("T2004", value=right)
    if left is UNDEFINED or right is UNDEFINED or left > right:
        return UNDEFINED
    size = int(right) - int(left) + 1
    if size > MAX_RANGE_ITEMS:
        raise failure("D2014", value=size)
    frame.run.spend(size)
    return Sequence(range(int(left), int(right) + 1))


def _whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _concatenate(left: Any, right: Any, frame: Frame) -> str:
    from flowrunner.lang.jsonata.text import text_of  # noqa: PLC0415  # the functions call back into the evaluator

    a, b = ("" if value is UNDEFINED else value if type(value) is str else text_of(value, frame.run) for value in (left, right))
    frame.run.text(len(a) + len(b))
    return a + b


_OTHERS: dict[str, Callable[[Any, Any, Frame], Any]] = {
    "=": _equal,
    "!=": _unequal,
    "in": _within,
    "..": _range,
    "&": _concatenate,
}


def unary(node: Node, compile_node: Compile) -> Code:
    """``-a`` and ``[a, b]``; objects are in `groups`."""
    if str(node.value) == "-":
        operand = compile_node(node.expression)
        sign = str(node.value)

        def negate(focus: Any, frame: Frame) -> Any:
            value = operand(focus, frame)
            if value is UNDEFINED:
                return value
            if not is_number(value):
                raise failure("D1002", token=sign, value=value)
            return -value

        return negate
    items = [(compile_node(item), item.type == "unary" and str(item.value) == "[") for item in node.expressions]
    cons = bool(node.consarray)

    def build(focus: Any, frame: Frame) -> Any:
        made = Array()
        for item, nested in items:
            value = item(focus, frame)
            if value is UNDEFINED:
                continue
            if nested:
                made.append(value)
            else:
                extend(made, value, frame.run)
        frame.run.spend(len(items))
        if cons:
            made.cons = True
        return made

    return build


def bind(node: Node, compile_node: Compile) -> Code:
    """``$name := value``."""
    key, value_of = str(node.lhs.value), compile_node(node.rhs)

    def assign(focus: Any, frame: Frame) -> Any:
        value = value_of(focus, frame)
        frame.names[key] = value
        return value

    return assign


def condition(node: Node, compile_node: Compile) -> Code:
    """``a ? b : c``."""
    test, then = compile_node(node.condition), compile_node(node.then)
    otherwise = None if node._else is None else compile_node(node._else)  # noqa: SLF001

    def choose(focus: Any, frame: Frame) -> Any:
        if boolean(test(focus, frame), frame.run):
            return then(focus, frame)
        return UNDEFINED if otherwise is None else otherwise(focus, frame)

    return choose


def default(node: Node, compile_node: Compile) -> Code:
    """``a ?: b``: b when a is not truthy."""
    left, right = compile_node(node.lhs), compile_node(node.rhs)

    def choose(focus: Any, frame: Frame) -> Any:
        value = left(focus, frame)
        return value if boolean(value, frame.run) else right(focus, frame)

    return choose


def coalesce(node: Node, compile_node: Compile) -> Code:
    """``a ?? b``: b when a is undefined."""
    left, right = compile_node(node.lhs), compile_node(node.rhs)

    def choose(focus: Any, frame: Frame) -> Any:
        value = left(focus, frame)
        return right(focus, frame) if value is UNDEFINED else value

    return choose


def block(node: Node, compile_node: Compile) -> Code:
    """``(a; b)``: the last value; names bound in it end with it."""
    parts = [compile_node(part) for part in node.expressions]

    def run(focus: Any, frame: Frame) -> Any:
        inner = Frame({}, frame, frame.run)
        value: Any = UNDEFINED
        for part in parts:
            value = part(focus, inner)
        return value

    return run
