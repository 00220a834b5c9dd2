"""What Step Functions refuses in a JSONata expression that parses: names that read a context item, or an error, which is not there.

Expressions of a definition are evaluated without a context item, so ``phone`` or ``$`` at the top level would always be
nothing. AWS refuses them when the definition is made; code, wording and scope are measured in
github.com/floci-io/floci/issues/2670, the rule itself stands in https://states-language.net/#jsonata. So does who sees
``$states.errorOutput``: a catcher. The wording of its refusal is from github.com/anomalyco/sst/issues/6110.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowrunner.errors import ExpressionError
from flowrunner.lang.jsonata.parse import parse

UNSUPPORTED_JSONATA = "UNSUPPORTED_JSONATA_EXPRESSION"
_CONTEXT_NAMES = {"": "$", "$": "$$"}  # how the parser calls the variables that stand for the context item and the root

# Per node type: the attributes that are evaluated with the same context item as the node itself.
_SAME = ("expression", "expressions", "arguments", "condition", "then", "_else", "lhs", "rhs", "lhs_object", "rhs_object", "procedure")
# The attributes in which a node has parts at all.
_PARTS = (*_SAME, "steps", "body", "pattern", "update", "delete", "terms", "predicate", "stages", "group", "expr")


def top_level_references(text: str) -> tuple[str, ...]:
    """The names in a valid expression that have nothing to refer to, each once, in order."""
    try:
        tree = parse(text)
    except ExpressionError:
        return ()
    return tuple(dict.fromkeys(_loose_names(tree)))


def _loose_names(tree: Any) -> Iterator[str]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (list, tuple)):
            waiting.extend(reversed(node))
            continue
        kind = getattr(node, "type", None)
        if kind == "name" and isinstance(node.value, str):
            yield node.value
        elif kind == "variable" and node.value in _CONTEXT_NAMES:
            yield _CONTEXT_NAMES[node.value]
        elif kind == "path":
            waiting.append(node.steps[0])  # the others get their context from it
        elif kind not in {"lambda", "transform", "name", "variable", None}:
            waiting.extend(part for name in reversed(_SAME) if (part := getattr(node, name, None)) is not None)


def unknown_states_fields(text: str) -> tuple[str, ...]:
    """``$states.errorOutput``, where a valid expression reads it, each spelling once."""
    if "errorOutput" not in text:
        return ()
    try:
        waiting: list[Any] = [parse(text)]
    except ExpressionError:
        return ()
    while waiting:
        node = waiting.pop()
        if isinstance(node, (list, tuple)):
            waiting.extend(node)
            continue
        steps: Any = getattr(node, "steps", None) or ()
        if len(steps) > 1 and (steps[0].type, steps[0].value, steps[1].value) == ("variable", "states", "errorOutput"):
            return ("$states.errorOutput",)
        waiting.extend(part for name in _PARTS if (part := getattr(node, name, None)) is not None)
    return ()
