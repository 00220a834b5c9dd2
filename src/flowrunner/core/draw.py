"""Program to graph, and the graph as Mermaid, DOT and JSON; ``picture.py`` draws it as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from flowrunner.core.program import (
    All,
    Branch,
    ChoiceWork,
    Comparison,
    GraphWork,
    LoopWork,
    MapWork,
    Negated,
    ParallelWork,
    Program,
    Rule,
    Some,
    State,
    SwitchWork,
    Test,
)
from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.lang.jsonpath import Path

LABEL_CHARACTERS = 60
_FAILURES = ("error", "timeout")  # the edges of a flow that a failed node takes
Way = Literal["next", "choice", "default", "catch", "start", "end"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to another, by their ids."""

    source: str
    target: str
    way: Way = "next"
    label: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A state; `parts` are the graphs within a Parallel or Map state."""

    id: str
    name: str
    kind: str
    parts: tuple[Graph, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """States on one level. The nodes called START and END by their `kind` are not states."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(program: Program) -> Graph:
    """The graph of a whole program, with its start and its end."""
    first = program.root.states[program.root.start_at]
    if isinstance(first.work, GraphWork) and first.label is None and len(program.root.states) == 1:  # a workflow: its steps are the graph
        return _framed(_dependencies(first.work, "s"))
    inner = _branch(program.root, "s")
    ids = {node.name: node.id for node in inner.nodes}
    leaving = [ids[state.name] for state in program.root.states.values() if _ends(state)]
    edges = (Edge("start", ids[program.root.start_at], "start"), *inner.edges, *(Edge(node, "finish", "end") for node in leaving))
    # "end" is a word of Mermaid's, so it cannot be an id.
    return Graph((Node("start", "Start", "START"), *inner.nodes, Node("finish", "End", "END")), edges)


def _framed(inner: Graph) -> Graph:
    """A graph with its start before whatever nothing leads to, and its end after whatever leads nowhere."""
    targets, sources = {edge.target for edge in inner.edges}, {edge.source for edge in inner.edges}
    begun = (Edge("start", node.id, "start") for node in inner.nodes if node.id not in targets)
    over = (Edge(node.id, "finish", "end") for node in inner.nodes if node.id not in sources)
    return Graph((Node("start", "Start", "START"), *inner.nodes, Node("finish", "End", "END")), (*begun, *inner.edges, *over))


def _dependencies(work: GraphWork, prefix: str) -> Graph:
    """The branches of a graph on one level, with an edge for each need."""
    inner = [_branch(_step_alone(node.branch), f"{prefix}n{place}_") for place, node in enumerate(work.nodes)]
    last = [[name for name in graph.nodes if name.id not in {edge.source for edge in graph.edges}] or list(graph.nodes) for graph in inner]
    needs = (Edge(end.id, inner[place].nodes[0].id) for place, node in enumerate(work.nodes) for need in node.needs for end in last[need])
    return Graph(tuple(node for graph in inner for node in graph.nodes), (*(edge for graph in inner for edge in graph.edges), *needs))


def _step_alone(branch: Branch) -> Branch:
    """The branch of a step without the state in which it goes on after a failure: that one is the compiler's own."""
    first = branch.states[branch.start_at]
    if first.label is None or any(state.label is not None for name, state in branch.states.items() if name != first.name):
        return branch
    return Branch(start_at=first.name, states={first.name: replace(first, catchers=())})


def _branch(branch: Branch, prefix: str) -> Graph:
    order = [branch.start_at, *(name for name in branch.states if name != branch.start_at)]
    ids = {name: f"{prefix}{place}" for place, name in enumerate(order)}
    nodes = tuple(Node(ids[name], name, branch.states[name].kind, _parts(branch.states[name], ids[name])) for name in order)
    edges = tuple(Edge(ids[name], ids[target], way, label) for name in order for target, way, label in _ways(branch.states[name]))
    return Graph(nodes, edges)


def _parts(state: State, prefix: str) -> tuple[Graph, ...]:
    if state.label is not None and not any(_is_known(branch) for branch in _branches(state)):
        return ()  # how a node does its work is not what its author drew
    if isinstance(state.work, GraphWork):
        return (_dependencies(state.work, f"{prefix}b0_"),)
    return tuple(_branch(branch, f"{prefix}b{place}_") for place, branch in enumerate(_branches(state)))


def _branches(state: State) -> tuple[Branch, ...]:
    match state.work:
        case ParallelWork(branches=branches):
            return branches
        case MapWork(processor=processor):
            return (processor,)
        case GraphWork(nodes=nodes):
            return tuple(node.branch for node in nodes)
        case SwitchWork(cases=cases):
            return tuple(case.branch for case in cases)
        case LoopWork(body=body):
            return (body,)
        case _:
            return ()


def _is_known(branch: Branch) -> bool:
    """Whether the branch has a state that an author knows, at any depth."""
    return any(state.label is not None or any(map(_is_known, _branches(state))) for state in branch.states.values())


def _ends(state: State) -> bool:
    if state.route is not None:
        return not state.route.edges.keys() - set(_FAILURES)
    return state.next is None and not isinstance(state.work, ChoiceWork)


def _ways(state: State) -> Iterator[tuple[str, Way, str]]:
    if isinstance(state.work, ChoiceWork):
        for rule in state.work.rules:
            yield rule.next, "choice", _short(_rule(rule))
        if state.work.default is not None:
            yield state.work.default, "default", "default"
    elif state.route is not None:
        for action, target in state.route.edges.items():
            if action not in _FAILURES or all(catcher.next != target for catcher in state.catchers):
                yield target, "default" if action == "default" else "choice", "" if action == "success" else _short(action)
    elif state.next is not None:
        yield state.next, "next", ""
    for catcher in state.catchers:
        known = None if state.route is None else next((action for action in _FAILURES if state.route.edges.get(action) == catcher.next), None)
        yield catcher.next, "catch", known or _short("catch " + ", ".join(catcher.error_equals))


def _rule(rule: Rule) -> str:
    if rule.test is not None:
        return _test(rule.test)
    return str(getattr(rule.condition, "source", "condition"))


def _test(test: Test) -> str:
    match test:
        case All(tests=tests):
            return " and ".join(map(_test, tests))
        case Some(tests=tests):
            return " or ".join(map(_test, tests))
        case Negated(test=inner):
            return f"not {_test(inner)}"
        case Comparison(variable=variable, operator=operator, operand=operand):
            return f"{variable.text} {_OPERATORS.get(operator, operator)} {_operand(operand)}"


_OPERATORS = {
    f"{kind}{name}{suffix}": sign
    for kind in ("Numeric", "String", "Timestamp", "Boolean")
    for name, sign in (("Equals", "="), ("LessThan", "<"), ("GreaterThan", ">"), ("LessThanEquals", "<="), ("GreaterThanEquals", ">="))
    for suffix in ("", "Path")
}


def _operand(operand: JSONValue | Path) -> str:
    return operand.text if isinstance(operand, Path) else dumps(operand)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LABEL_CHARACTERS else f"{line[: LABEL_CHARACTERS - 3]}..."


# --- as text


def as_json(graph: Graph) -> dict[str, Any]:
    """Nodes and edges as plain data; `parts` holds the graphs within a state."""
    return {
        "nodes": [
            {"id": node.id, "name": node.name, "type": node.kind, **({"parts": [as_json(part) for part in node.parts]} if node.parts else {})}
            for node in graph.nodes
        ],
        "edges": [{"source": edge.source, "target": edge.target, "type": edge.way, "label": edge.label} for edge in graph.edges],
    }


_SHAPES = {"START": ("((", "))"), "END": ("((", "))"), "Choice": ("{", "}"), "Wait": ("([", "])"), "Fail": ("[/", "/]"), "Succeed": ("([", "])")}


def as_mermaid(graph: Graph) -> str:
    """Draw a Mermaid flowchart."""
    return "\n".join(["flowchart TD", *_mermaid(graph, "  ")]) + "\n"


def _mermaid(graph: Graph, indent: str) -> Iterator[str]:
    for node in graph.nodes:
        title = _mermaid_text(node.name)
        if not node.parts:
            left, right = _SHAPES.get(node.kind, ("[", "]"))
            yield f"{indent}{node.id}{left}{title}{right}"
            continue
        yield f"{indent}subgraph {node.id}[{title}]"
        for place, part in enumerate(node.parts):
            if len(node.parts) > 1:
                yield f'{indent}  subgraph {node.id}p{place}["{place + 1}"]'
            yield from _mermaid(part, indent + "    ")
            if len(node.parts) > 1:
                yield f"{indent}  end"
        yield f"{indent}end"
    for edge in graph.edges:
        arrow = "-.->" if edge.way == "catch" else "-->"
        yield f"{indent}{edge.source} {arrow}{f'|{_mermaid_text(edge.label)}|' if edge.label else ''} {edge.target}"


def _mermaid_text(text: str) -> str:
    # Mermaid takes entity codes as #name; or #number; within quotes.
    escaped = "".join(f"#{ord(letter)};" if letter in '"#<>&`\\|' or not letter.isprintable() else letter for letter in text)
    return f'"{escaped}"'


_DOT_SHAPES = {"START": "circle", "END": "doublecircle", "Choice": "diamond", "Wait": "octagon"}


def as_dot(graph: Graph) -> str:
    """Draw for Graphviz."""
    lines = ["digraph machine {", "  compound=true;", '  node [shape=box, style=rounded, fontname="Helvetica"];', '  edge [fontname="Helvetica"];']
    return "\n".join([*lines, *_dot(graph, "  "), "}"]) + "\n"


def _dot(graph: Graph, indent: str) -> Iterator[str]:
    for node in graph.nodes:
        if not node.parts:
            yield f"{indent}{node.id} [label={_dot_text(node.name)}, shape={_DOT_SHAPES.get(node.kind, 'box')}];"
            continue
        # A cluster cannot be an edge's end: the state is a node, its parts are clusters below it.
        yield f"{indent}{node.id} [label={_dot_text(f'{node.name} ({node.kind})')}, shape=component];"
        for place, part in enumerate(node.parts):
            yield f"{indent}subgraph cluster_{node.id}_{place} {{"
            yield f"{indent}  label={_dot_text(node.name if len(node.parts) == 1 else f'{node.name} {place + 1}')};"
            yield from _dot(part, indent + "  ")
            yield f"{indent}}}"
            yield f"{indent}{node.id} -> {part.nodes[0].id} [style=dotted, arrowhead=none];"
    for edge in graph.edges:
        style = ", style=dashed" if edge.way == "catch" else ""
        yield f"{indent}{edge.source} -> {edge.target} [label={_dot_text(edge.label)}{style}];"


def _dot_text(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
