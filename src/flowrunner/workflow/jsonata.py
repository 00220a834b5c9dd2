"""``{{ }}`` expressions as JSONata with the same values.

What leads nowhere is nothing in JSONata too (undefined), null where the language says null. JSONata has other ideas of truth, equality, order and
paths than JavaScript; where the difference could show, the expression brings functions of its own along (bracefunctions.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.braces.nodes import And, Binary, Call, Index, Literal, Member, Name, Negative, Node, Not, Or, Previous
from flowrunner.lang.braces.template import Place, Places, has_braces, nowhere, parts_of
from flowrunner.lang.braces.values import number_of
from flowrunner.lang.jsonata.writing import as_it_is, literal, marked, member
from flowrunner.workflow.bracefunctions import needed_by, with_functions

NOTHING = "$lookup({}, '')"
_INDEX = re.compile(r"[0-9]{1,9}")


class Untranslatable(ValueError):
    """An expression that JSONata cannot say; the text says why."""


@dataclass(frozen=True, slots=True)
class Names:
    """What names mean where an expression stands.

    `variables` and `nodes` are the JSONata of the workflow's variables and of its steps. `certain` are variables that are always there, `steps` the
    ids of steps; `given` are names with a value of their own here (the inputs of a step, the variables of a loop), as JSONata that always has one.
    """

    variables: str
    nodes: str
    certain: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    given: Mapping[str, str] = field(default_factory=dict)
    input: str = "$states.context.Execution.Input"
    result: str | None = None


class Writer:
    """Writes one expression, and remembers the functions it needs."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._needs: set[str] = set()

    def need(self, name: str) -> str:
        """The name of a function, which the expression will bring along."""
        self._needs |= needed_by(name)
        return f"${name}"

    def whole(self, text: str, comment: str = "") -> str:
        """The expression between its marks, with its functions before it."""
        return marked(self.complete(text), comment)

    def complete(self, text: str) -> str:
        """The expression with its functions."""
        return with_functions(text, self._needs)

    # --- values

    def value(self, node: Node) -> str:
        """The value of a node; nothing where it leads nowhere."""
        match node:
            case Literal(is_=constant):
                return _literal(constant)
            case Name(name=name):
                return self._name(name)
            case Previous(step=step):
                return NOTHING if step is None else f"{member(self._names.nodes, step)}.output"
            case Member(of=Name(name="nodes"), name=step):
                return member(self._names.nodes, step)
            case Member(of=of, name=name):
                return self._reached(of, name)
            case Index(of=of, at=Literal(is_=int() | str() as at)) if not isinstance(at, bool):
                return self._reached(of, at)
            case Index(of=of, at=Negative(of=Literal(is_=int() as at))) if not isinstance(at, bool):
                return self._reached(of, -at)
            case Index():
                raise Untranslatable("an index must be a number or a text, no expression")
            case And() | Or():
                return self._either(node)
            case Negative(of=of):
                return f"($l := {self.value(of)}; $exists($l) ? 0 - {self.need('digits')}($l))"
            case Binary(operator=operator, left=left, right=right) if operator in _CALCULATED:
                made = _CALCULATED[operator](self, "$l", "$r")
                return f"($l := {self.value(left)}; $exists($l) ? ($r := {self.value(right)}; $exists($r) ? {made}))"  # as late as in braces
            case Call():
                return self._call(node)
        return self.truth(node)

    def known(self, node: Node) -> str:
        """The value, null where it leads nowhere."""
        return self.value(node) if self.is_certain(node) else f"{self.need('else')}({self.value(node)}, null)"

    def is_certain(self, node: Node) -> bool:
        """Whether a node always has a value."""
        match node:
            case Name(name=name):
                name = name.removeprefix("$")
                return name in self._names.given or name in self._names.certain or name in ("nodes", "input")
            case Literal() | Not() | And() | Or() | Call():
                return True
            case Binary(operator=operator):
                return operator not in _CALCULATED
        return False

    def _name(self, written: str) -> str:
        names, name = self._names, written.removeprefix("$")
        if name in names.given:
            return names.given[name]
        variable = member(names.variables, name)
        if name in names.certain:
            return variable
        other = None
        if name == "nodes":
            other = names.nodes
        elif name in names.steps:
            other = f"{member(names.nodes, name)}.output"
        elif name in ("input", "result"):
            other = names.input if name == "input" else names.result
        return variable if other is None else f"{self.need('else')}({variable}, {other})"

    def _reached(self, of: Node, at: str | int) -> str:
        inner = self.value(of)
        if isinstance(of, Member) and isinstance(of.of, Name) and of.of.name == "nodes" and at in ("output", "status"):
            return f"{inner}.{at}"  # what is kept of a step is an object of these
        return self.reached(inner, at)

    def reached(self, inner: str, at: str | int) -> str:
        """What `at` names in the value of an expression."""
        if at == "length":
            return f"{self.need('size')}({inner})"
        if isinstance(at, int) or _INDEX.fullmatch(at):
            return f"{self.need('item')}({inner}, {_literal(str(at))}, {int(at)})"
        return f"{self.need('member')}({inner}, {_literal(at)})"

    def _either(self, node: And | Or) -> str:
        left, right = self.known(node.left), self.known(node.right)
        kept = f"({self.need('holds')}($l) ? {right} : $l)" if isinstance(node, And) else f"({self.need('holds')}($l) ? $l : {right})"
        return f"($l := {left}; {kept})"

    def _call(self, node: Call) -> str:
        given = [self.known(part) for part in node.given]
        match node.name:
            case "$now":
                return "$now()"
            case "$timestamp":
                return "$millis()"
            case "$uuid":
                return "$uuid()"
            case "$length":
                return f"{self.need('long')}({given[0]})"
        return self.truth(node)

    # --- truth

    def truth(self, node: Node) -> str:
        """Whether a node's value counts as true: true or false."""
        match node:
            case Literal(is_=bool() as constant):
                return "true" if constant else "false"
            case Not(of=of):
                return f"$not({self.truth(of)})"
            case And(left=left, right=right):
                return f"({self.truth(left)} and {self.truth(right)})"
            case Or(left=left, right=right):
                return f"({self.truth(left)} or {self.truth(right)})"
            case Binary(operator=operator, left=left, right=right) if operator not in _CALCULATED:
                return self._compared(operator, left, right)
            case Call(name="$isEmpty", given=(of,)):
                return f"{self.need('blank')}({self.known(of)})"
            case Call(name="$isNotEmpty", given=(of,)):
                return f"$not({self.need('blank')}({self.known(of)}))"
        return f"{self.need('holds')}({self.known(node)})"

    def _compared(self, operator: str, left: Node, right: Node) -> str:
        if operator.startswith("!"):
            return f"$not({self._compared('=' + operator[1:], left, right)})"
        if operator == "===" or (operator == "==" and (_is_plain(left) or _is_plain(right))):
            return f"({self.known(left)} = {self.known(right)})"
        one, other = self.known(left), self.known(right)
        if operator == "==":
            return f"{self.need('same')}({one}, {other})"
        if operator[0] == ">":
            one, other = other, one
        below = f"{self.need('below')}({one}, {other})"
        return below if len(operator) == 1 else f"({below} or {self.need('same')}({one}, {other}))"


_CALCULATED: Mapping[str, Callable[[Writer, str, str], str]] = {
    "+": lambda writer, one, other: f"{writer.need('plus')}({one}, {other})",
    "-": lambda writer, one, other: f"({writer.need('digits')}({one}) - {writer.need('digits')}({other}))",
    "*": lambda writer, one, other: f"({writer.need('digits')}({one}) * {writer.need('digits')}({other}))",
    "/": lambda writer, one, other: f"({writer.need('digits')}({one}) / {writer.need('divisor')}({other}))",
    "%": lambda writer, one, other: f"({writer.need('digits')}({one}) % {writer.need('divisor')}({other}))",
}


def _is_plain(node: Node) -> bool:
    """A literal that equals nothing but itself: null, or a text that names neither a number nor a truth value."""
    if not isinstance(node, Literal):
        return False
    value = node.is_
    return value is None or (isinstance(value, str) and value not in ("true", "false") and number_of(value) is None)


def _literal(value: JSONValue) -> str:
    try:
        return literal(value)
    except ValueError as error:
        raise Untranslatable(str(error)) from None


# --- values with expressions in their texts


def template(names: Names, value: JSONValue, previous: str | None = None, *, nulls: Places = nowhere, place: Place = ()) -> JSONValue:
    """A value with ``{{ }}`` as a value with JSONata; raises Untranslatable. What leads nowhere is null at the places of `nulls`."""
    if not has_braces(value):
        return as_it_is(value)
    if isinstance(value, dict):
        return {name: template(names, part, previous, nulls=nulls, place=(*place, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [template(names, part, previous, nulls=nulls, place=(*place, index)) for index, part in enumerate(value)]
    writer = Writer(names)
    made = text(writer, value, previous, null=nulls(place))
    return as_it_is(value) if made is None else writer.whole(made, value)


def expression(names: Names, value: JSONValue, previous: str | None = None) -> str:
    """The same as one JSONata expression."""
    writer = Writer(names)
    return writer.complete(part(writer, value, previous))


def part(writer: Writer, value: JSONValue, previous: str | None) -> str:
    """A value with ``{{ }}`` as a part of an expression."""
    if not has_braces(value):
        return _literal(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(name)}: {part(writer, inner, previous)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return _list(writer, value, previous)
    made = text(writer, value, previous)
    return _literal(value) if made is None else made


def _list(writer: Writer, items: list[JSONValue], previous: str | None) -> str:
    """A list. JSONata puts the items of a list that an expression gives in its place, so each such item becomes a list of its own first."""
    joined = ""
    for item in items:
        made = part(writer, item, previous)
        one = f"{writer.need('whole')}({made})" if has_braces(item) else f"[{made}]"
        joined = f"$append({joined}, {one})" if joined else one
    return joined


def text(writer: Writer, value: str, previous: str | None, *, null: bool = False) -> str | None:
    """A text with expressions; None when it has none after all (references to secrets). With `null`, one expression that leads nowhere gives null."""
    parts = list(parts_of(value, previous))
    if not any(isinstance(part, tuple) for part in parts):
        return None
    if null and len(parts) == 1 and isinstance(parts[0], tuple):
        return writer.known(parts[0][1])
    written = [_literal(part) if isinstance(part, str) else _filled(writer, *part) for part in parts]
    if len(parts) == 1:
        return written[0]
    return " & ".join(one if isinstance(part, str) else f"{writer.need('text')}({one})" for one, part in zip(written, parts, strict=True))


def _filled(writer: Writer, whole: str, tree: Node) -> str:
    """The value of an expression in a text; what leads nowhere stays as it was written."""
    return writer.value(tree) if writer.is_certain(tree) else f"{writer.need('else')}({writer.value(tree)}, {_literal(whole)})"


# --- what an expression reads, and what it may do


def nodes_in(tree: Node) -> Iterable[Node]:
    """All nodes of a tree, itself included."""
    waiting: list[Node] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Member(of=of) | Not(of=of) | Negative(of=of):
                waiting.append(of)
            case Index(of=of, at=at):
                waiting += [of, at]
            case And(left=left, right=right) | Or(left=left, right=right) | Binary(left=left, right=right):
                waiting += [left, right]
            case Call(given=given):
                waiting += given
