"""Calls: functions of the expression and of the library, tail calls, partial application, ``~>``, transforms."""

from __future__ import annotations

from typing import Any

from flowrunner.errors import BudgetExceeded
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.parse import Node, signature_of
from flowrunner.lang.jsonata.signature import Signature
from flowrunner.lang.jsonata.values import (
    HOLE,
    MAX_CALL_DEPTH,
    UNDEFINED,
    Array,
    Code,
    Compile,
    Frame,
    Function,
    Lambda,
    Native,
    Object,
    Partial,
    Run,
    Thunk,
)


def apply(function: Any, arguments: list[Any], focus: Any, frame: Frame, name: str = "") -> Any:
    """Call `function`; the calls it ends with are made here, one after the other, so they may go on for ever (of the budget)."""
    run = frame.run
    run.depth += 1
    if run.depth > MAX_CALL_DEPTH:
        run.depth -= 1
        raise BudgetExceeded(f"The expression calls functions more than {MAX_CALL_DEPTH} deep.")
    try:
        while True:
            result = _call(function, arguments, focus, frame, name)
            if type(result) is not Thunk:
                return result
            function, arguments = result.prepare(result.focus, result.frame)
    finally:
        run.depth -= 1


def _call(function: Any, arguments: list[Any], focus: Any, frame: Frame, name: str) -> Any:
    run = frame.run
    run.spend(2)
    while type(function) is Partial:
        run.spend(1)
        function, arguments = function.target, function.filled(arguments)
    if type(function) is Lambda:
        if function.signature is not None:
            arguments = function.signature.arguments(arguments, focus, name or function.name, run)
        names = dict.fromkeys(function.parameters, UNDEFINED)
        names.update(zip(function.parameters, arguments))  # noqa: B905  # surplus arguments are dropped
        return function.body(function.focus, Frame(names, function.frame, run))
    if type(function) is Native:
        return call_native(function, arguments, focus, frame)
    if isinstance(function, Function):
        return regex_match(function, arguments, run)
    raise failure("T1006", token=name)


def call_native(function: Native, arguments: list[Any], focus: Any, frame: Frame) -> Any:
    """Call a function written in Python."""
    if function.signature is not None:
        arguments = function.signature.arguments(arguments, focus, function.name, frame.run)
    if function.contextual:
        return function.call(frame.run, focus, frame, *arguments)
    return function.call(frame.run, *arguments)


def regex_match(function: Any, arguments: list[Any], run: Run) -> Any:
    """A regular expression called as a function: its first match, with a function for the next."""
    if not arguments or type(arguments[0]) is not str:
        return UNDEFINED
    matches = function.matches(arguments[0], run)

    def following(_run: Run) -> Any:
        match = next(matches, None)
        if match is None:
            return UNDEFINED
        groups = Array(UNDEFINED if group is None else group for group in match.groups())
        return Object(match=match.group(0), start=match.start(), end=match.end(), groups=groups, next=Native("next", following, None, 0))

    return following(run)


def hof_arguments(function: Function, *values: Any) -> list[Any]:
    """As many of `values` as a callback declares: one at least."""
    return list(values[: max(1, function.arity)])


def _name_of(procedure: Node) -> str:
    return str(procedure.steps[0].value) if procedure.type == "path" else str(procedure.value or "")


def call(node: Node, compile_node: Compile) -> Code:
    """``f(a, b)``."""
    prepare, name = _prepared(node, compile_node), _name_of(node.procedure)

    def invoke(focus: Any, frame: Frame) -> Any:
        function, arguments = prepare(focus, frame)
        if type(function) is Native:
            frame.run.spend(1)
            return call_native(function, arguments, focus, frame)
        return apply(function, arguments, focus, frame, name)

    return invoke


def _prepared(node: Node, compile_node: Compile) -> Any:
    """The function and the arguments of a call, evaluated."""
    procedure = compile_node(node.procedure)
    codes = [compile_node(argument) for argument in node.arguments or ()]
    name, plain = _name_of(node.procedure), node.procedure.type == "path"

    def prepare(focus: Any, frame: Frame) -> tuple[Any, list[Any]]:
        function = procedure(focus, frame)
        if function is UNDEFINED and plain and frame.lookup(name) is not UNDEFINED:
            raise failure("T1005", token=name)
        return function, [code(focus, frame) for code in codes]

    return prepare


def lambda_(node: Node, compile_node: Compile) -> Code:
    """``function($a, $b){ ... }``; a thunk is a call in tail position that the parser wrapped."""
    if node.thunk:
        prepare = _prepared(node.body, compile_node)
        return lambda focus, frame: Thunk(prepare, focus, frame)
    parameters = tuple(str(argument.value) for argument in node.arguments)
    body = compile_node(node.body)
    signature = signature_of(node)
    return lambda focus, frame: Lambda(parameters, body, focus, frame, signature)


def partial(node: Node, compile_node: Compile) -> Code:
    """``f(?, 2)``."""
    procedure, name, plain = compile_node(node.procedure), _name_of(node.procedure), node.procedure.type == "path"
    codes = [None if argument.type == "operator" and argument.value == "?" else compile_node(argument) for argument in node.arguments]

    def prepare(focus: Any, frame: Frame) -> Any:
        given = [HOLE if code is None else code(focus, frame) for code in codes]
        function = procedure(focus, frame)
        if function is UNDEFINED and plain and frame.lookup(name) is not UNDEFINED:
            raise failure("T1007", token=name)
        if not isinstance(function, Function):
            raise failure("T1008", token=name)
        return Partial(function, given)

    return prepare


def chain(node: Node, compile_node: Compile) -> Code:
    """``a ~> f`` calls f with a; ``f ~> g`` is the function that calls one after the other."""
    left = compile_node(node.lhs)
    if node.rhs.type == "function" and not node.rhs.predicate and node.rhs.group is None:
        prepare, name = _prepared(node.rhs, compile_node), _name_of(node.rhs.procedure)

        def invoke(focus: Any, frame: Frame) -> Any:
            first = left(focus, frame)
            function, arguments = prepare(focus, frame)
            return apply(function, [first, *arguments], focus, frame, name)

        return invoke
    right = compile_node(node.rhs)

    def pipe(focus: Any, frame: Frame) -> Any:
        first, function = left(focus, frame), right(focus, frame)
        if not isinstance(function, Function):
            raise failure("T2006", value=function)
        if not isinstance(first, Function):
            return apply(function, [first], focus, frame)
        return Native("chain", lambda _run, value=UNDEFINED: apply(function, [apply(first, [value], None, frame)], None, frame), None, 1)

    return pipe


def transform(node: Node, compile_node: Compile) -> Code:
    """``|pattern|update, delete|``: a function that changes a copy."""
    pattern, update = compile_node(node.pattern), compile_node(node.update)
    delete = None if node.delete is None else compile_node(node.delete)

    def change(match: Any, frame: Frame) -> None:
        frame.run.spend(1)
        changes = update(match, frame)
        if changes is not UNDEFINED:
            if not isinstance(changes, dict):
                raise failure("T2011", value=changes)
            if isinstance(match, dict):
                frame.run.spend(len(changes))
                match.update(changes)
        if delete is None:
            return
        names = delete(match, frame)
        if names is UNDEFINED:
            return
        listed = names if isinstance(names, list) else [names]
        frame.run.spend(len(listed))
        if not all(type(name) is str for name in listed):
            raise failure("T2012", value=names)
        if isinstance(match, dict):
            for name in listed:
                match.pop(name, None)

    def make(_focus: Any, frame: Frame) -> Any:
        def transformed(run: Run, value: Any) -> Any:
            if value is UNDEFINED:
                return value
            copy = clone(value, run)
            matches = pattern(copy, frame)
            if matches is not UNDEFINED:
                for match in list(matches) if isinstance(matches, list) else [matches]:
                    change(match, frame)
            return copy

        return Native("transform", transformed, Signature("<(oa):o>"), 1)

    return make


def clone(value: Any, run: Run) -> Any:
    """A deep copy."""
    if isinstance(value, dict):
        run.spend(len(value) + 1)
        return Object((key, clone(part, run)) for key, part in value.items())
    if isinstance(value, list):
        run.spend(len(value) + 1)
        return Array(clone(part, run) for part in value)
    return None if isinstance(value, Function) else value
