"""Edges that a node never takes, and actions of a node that no edge takes: both end a flow where its author does not expect it."""

from __future__ import annotations

from flowrunner.flow.lower import EFFECTLESS, Lowering
from flowrunner.flow.node import FlowNode
from flowrunner.flow.posting import POST
from flowrunner.flow.templates import SUCCESS
from flowrunner.flow.values import is_open
from flowrunner.reading.wording import meant

UNTAKEN = "ACTION_WITHOUT_EDGE"
DEFAULT = "default"
FAILURES = ("error", "timeout")
_MAY_FIND_NOTHING = ("get", "delete")
_PAUSES = ("delay", "wait", "merge")


def check_edges(lowering: Lowering, node: FlowNode) -> None:
    """Say both, of a node that is no batch; of one whose actions are known, which its hook ``post`` could change."""
    if not node.kind.actions or POST in node.hooks:
        return
    actions = _actions(node)
    taken = (*actions, *(FAILURES if _may_fail(node) else ()))
    for edge in node.edges:
        if edge not in (*taken, DEFAULT):
            said = f"The edge '{edge}' of '{node.name}' is never taken: a node of the kind '{node.kind.name}' takes {_listed(taken)}."
            lowering.found.warning((*node.place, "next", edge), said, EFFECTLESS, hint=meant(edge, (*taken, DEFAULT)))
    missing = [action for action in actions if action != SUCCESS and action not in node.edges]
    if missing and DEFAULT not in node.edges and (node.edges or node.retriers):
        place = (*node.place, "next") if node.edges else node.place
        said = f"No edge of '{node.name}' takes {_listed(tuple(missing))}: there the flow would end, completed."
        lowering.found.warning(place, said, UNTAKEN)


def _actions(node: FlowNode) -> tuple[str, ...]:
    """What the node may say by itself, as far as its parameters tell; what another execution failed by is no action."""
    if node.kind.name in _PAUSES:
        return (SUCCESS, "timeout") if _asks(node) else (SUCCESS,)
    if node.kind.structural:
        return (SUCCESS,)
    asked = node.params.get("operation", node.params.get("op"))
    nothing = is_open(asked) or asked in _MAY_FIND_NOTHING
    return tuple(action for action in node.kind.actions if action != "not_found" or nothing)


def _asks(node: FlowNode) -> bool:
    return node.params.get("type", "condition") == "condition" and "condition" in node.params


def _may_fail(node: FlowNode) -> bool:
    """Pauses fail by a parameter that is not known yet, or in their condition."""
    return node.kind.name not in _PAUSES or _asks(node) or (node.kind.name != "merge" and is_open(node.params))


def _listed(words: tuple[str, ...]) -> str:
    shown = [f"'{word}'" for word in dict.fromkeys(words)]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
