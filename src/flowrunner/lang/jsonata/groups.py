"""Compiles object constructors ``{k: v}`` and group-by ``path{k: v}``."""

from __future__ import annotations

from typing import Any

from flowrunner.lang.jsonata.messages import failure
from flowrunner.lang.jsonata.parse import Node, well_formed
from flowrunner.lang.jsonata.values import UNDEFINED, Code, Compile, Frame, Object, Tuples, joined


def constructor(node: Node, compile_node: Compile) -> Code:
    """``{k: v}`` as an expression of its own."""
    grouping = group_code(node, compile_node)
    keys = [well_formed(key.value) if key.type == "string" and not key.predicate and key.group is None else None for key, _ in node.lhs_object]
    if None in keys or len(set(keys)) != len(keys):
        return grouping
    members = list(zip(keys, [compile_node(value) for _, value in node.lhs_object], strict=True))

    def build(focus: Any, frame: Frame) -> Any:
        if isinstance(focus, list) and (len(focus) > 1 or type(focus) is Tuples):
            return grouping(focus, frame)
        if isinstance(focus, list):
            focus = focus[0] if focus else UNDEFINED
        frame.run.spend(len(members))
        made = Object()
        for key, code in members:
            value = code(focus, frame)
            if value is not UNDEFINED:
                made[key] = value  # type: ignore[index]  # None was ruled out above
        return made

    return build


def group_code(node: Node, compile_node: Compile) -> Code:
    """Groups the items of a value by key; each group's items are the context of its value expression."""
    pairs = [(compile_node(key), compile_node(value)) for key, value in node.lhs_object]

    def group(focus: Any, frame: Frame) -> Any:
        streams = type(focus) is Tuples
        items = focus if isinstance(focus, list) else [focus]
        if not items:
            if streams:
                return Object()
            items = [UNDEFINED]
        groups: dict[str, tuple[int, list[Any]]] = {}
        frame.run.spend(len(items) * len(pairs))
        for item in items:
            scope = Frame(dict(item), frame, frame.run) if streams else frame
            context = item["@"] if streams else item
            for index, (key_of, _) in enumerate(pairs):
                key = key_of(context, scope)
                if key is UNDEFINED:
                    continue
                if type(key) is not str:
                    raise failure("T1003", value=key)
                frame.run.scan(len(key))
                entry = groups.get(key)
                if entry is None:
                    groups[key] = (index, [item])
                elif entry[0] != index:
                    raise failure("D1009", value=key)
                else:
                    entry[1].append(item)
        made = Object()
        for key, (index, members) in groups.items():
            if streams:
                names = _reduced(members, frame)
                context = names.pop("@")
                value = pairs[index][1](context, Frame(names, frame, frame.run))
            else:
                value = pairs[index][1](_appended(members, frame), frame)
            if value is not UNDEFINED:
                made[key] = value
        return made

    return group


def _appended(members: list[Any], frame: Frame) -> Any:
    """The items of one group as ``$append`` joins them: a single one stays itself."""
    if len(members) == 1:
        return members[0]
    value = members[0]
    for member in members[1:2]:
        value = joined(value, member, frame.run)
    frame.run.spend(len(members))
    for member in members[2:]:
        if isinstance(member, list):
            frame.run.spend(len(member))
            value.extend(member)
        elif member is not UNDEFINED:
            value.append(member)
    return value


def _reduced(members: list[dict[str, Any]], frame: Frame) -> dict[str, Any]:
    """The tuples of one group as one: each name with all its values."""
    if len(members) == 1:
        return dict(members[0])
    return {name: _appended([member.get(name, UNDEFINED) for member in members], frame) for name in members[0]}
