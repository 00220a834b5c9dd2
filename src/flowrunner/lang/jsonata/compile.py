"""From syntax tree to closures: each node becomes one Python function of (context value, frame)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowrunner.errors import JsonataError
from flowrunner.lang.jsonata import calls, operators
from flowrunner.lang.jsonata.groups import constructor, group_code
from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.parse import Node, parse
from flowrunner.lang.jsonata.paths import filter_code, path
from flowrunner.lang.jsonata.values import UNDEFINED, Code, Compile, Frame, Sequence, normal


def _unary(node: Node, compile_node: Compile) -> Code:
    return constructor(node, compile_node) if str(node.value) == "{" else operators.unary(node, compile_node)


KINDS: dict[str, Callable[[Node, Compile], Code]] = {
    "apply": calls.chain,
    "binary": operators.binary,
    "bind": operators.bind,
    "block": operators.block,
    "coalesce": operators.coalesce,
    "condition": operators.condition,
    "default": operators.default,
    "descendant": operators.descendants,
    "function": calls.call,
    "lambda": calls.lambda_,
    "name": operators.name,
    "number": operators.literal,
    "parent": operators.parent,
    "partial": calls.partial,
    "path": path,
    "regex": operators.regex,
    "string": operators.literal,
    "transform": calls.transform,
    "unary": _unary,
    "value": operators.literal,
    "variable": operators.variable,
    "wildcard": operators.wildcard,
}
_NEVER_SEQUENCES = {"lambda", "name", "number", "partial", "regex", "string", "transform", "value", "variable", "unary", "bind", "condition", "block"}


_NODES_PER_STEP = 6  # operators, names, literals ...: 0.1 to 0.4 µs each
_SCOPES = {"block", "lambda"}


def compile_text(text: str) -> tuple[Node, Code]:
    """The syntax tree of an expression and its code; raises JsonataError with an S code."""
    tree = parse(text)
    try:
        return tree, _Compiler().node(tree)
    except RecursionError:
        raise failure("S0600") from None


class _Compiler:
    """Compiles one expression, and sees to it that evaluating a large part of it costs steps even where nothing in it does."""

    def __init__(self) -> None:
        self._unpaid = 0  # nodes since the last that takes steps for all below it
        self._depth = 0  # frames around the node: looking a name up may walk through all

    def node(self, node: Node) -> Code:
        """The code of one node with its predicates and its grouping; results are normal."""
        before, self._unpaid = self._unpaid, 1 + (self._depth >> 2 if node.type == "variable" else 0)
        inner = node.type in _SCOPES
        self._depth += inner
        code = self._plain(node)
        self._depth -= inner
        if self._unpaid >= _NODES_PER_STEP:
            code = _paid(code, self._unpaid // _NODES_PER_STEP)
            self._unpaid = 0
        self._unpaid += before
        return code

    def _plain(self, node: Node) -> Code:
        build = KINDS.get(str(node.type))
        if build is None:
            raise JsonataError("S0206", f"Unknown expression type: {node.type}")
        code = build(node, self.node)
        if node.predicate or (node.group is not None and node.type != "path"):
            code = _finished(node, code, self.node)
        elif node.type in _NEVER_SEQUENCES and not node.keep_array:
            return code
        return _keeping(code) if node.keep_array else _normalised(code)


def _paid(code: Code, steps: int) -> Code:
    def pay(focus: Any, frame: Frame) -> Any:
        frame.run.spend(steps)
        return code(focus, frame)

    return pay


def _finished(node: Node, code: Code, compile_node: Compile) -> Code:
    """Predicates, then grouping, on the value before it is made normal."""
    filters = [filter_code(predicate.expr, compile_node) for predicate in node.predicate or ()]
    grouping = group_code(node.group, compile_node) if node.group is not None and node.type != "path" else None

    def finish(focus: Any, frame: Frame) -> Any:
        value = code(focus, frame)
        for keep in filters:
            value = keep(value, frame)
        return value if grouping is None else grouping(value, frame)

    return finish


def _normalised(code: Code) -> Code:
    def finish(focus: Any, frame: Frame) -> Any:
        value = code(focus, frame)
        return normal(value) if type(value) is Sequence else value

    return finish


def _keeping(code: Code) -> Code:
    """``[]`` after an expression: a single result stays an array."""

    def finish(focus: Any, frame: Frame) -> Any:
        value = code(focus, frame)
        if type(value) is not Sequence:
            return value
        if not value:
            return UNDEFINED
        frame.run.spend(len(value) >> 6)
        kept = Sequence(value)
        kept.keep = True
        return kept

    return finish
