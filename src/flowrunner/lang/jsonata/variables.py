"""Which names an expression takes from outside."""

from __future__ import annotations

from flowrunner.lang.jsonata.parse import Node


def free_names(tree: Node) -> frozenset[str]:
    """The variables (without ``$``) that are neither parameters nor bound before they are used; ``$`` and ``$$`` are not names."""
    found: set[str] = set()
    _visit(tree, set(), found)
    return frozenset(found)


def _visit(node: Node, bound: set[str], found: set[str]) -> None:
    """Add the free names of `node` to `found`; names it binds for what follows are added to `bound`."""
    if node is None:
        return
    kind = node.type
    if kind == "variable":
        if node.value and node.value != "$" and node.value not in bound:
            found.add(str(node.value))
    elif kind == "bind":
        if node.rhs.type == "lambda":  # a function may call itself
            bound.add(str(node.lhs.value))
        _visit(node.rhs, bound, found)
        bound.add(str(node.lhs.value))
    elif kind == "lambda":
        _visit(node.body, bound | {str(argument.value) for argument in node.arguments or ()}, found)
    elif kind in {"block", "path"}:
        inner = set(bound)
        for part in (node.expressions if kind == "block" else node.steps) or ():
            _visit(part, inner, found)
        _tail(node, inner, found)
        return
    else:
        for child in (node.procedure, node.condition, node.then, node._else, node.lhs, node.rhs, node.expression, node.pattern, node.update, node.delete):  # noqa: SLF001
            _visit(child, bound, found)
        for child in (*(node.arguments or ()), *(node.expressions or ()), *(term.expression for term in node.terms or ())):
            _visit(child, bound, found)
        for pair in node.lhs_object or ():
            for child in pair:
                _visit(child, bound, found)
    _tail(node, bound, found)


def _tail(node: Node, bound: set[str], found: set[str]) -> None:
    """What hangs on any node: the names it binds for later steps, predicates, stages, grouping."""
    bound.update(str(name) for name in (node.focus, node.index) if isinstance(name, str))
    for part in (*(node.predicate or ()), *(node.stages or ())):
        if part.type == "index":
            bound.add(str(part.value))
        else:
            _visit(part.expr, bound, found)
    if node.group is not None:
        for pair in node.group.lhs_object:
            for child in pair:
                _visit(child, bound, found)
