"""Steps that are made of others: groups, branches, loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowrunner.core.program import Branch, Case, Field, LoopWork, State, SwitchWork, Template
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.braces import has_braces
from flowrunner.lang.environment import Environment
from flowrunner.reading.findings import Place
from flowrunner.reading.wording import shown
from flowrunner.workflow.fields import BRANCH, INVALID_VALUE, LOOP, MISSING_FIELD, read_object
from flowrunner.workflow.steps import Compiling, Lower, Step, branch_of, graph_of, state_of
from flowrunner.workflow.templates import LoopEnded, Outputs, Returned

DEFAULT = "default"
MOST_ITERATIONS = 100  # unless the author says otherwise
AT_ONCE = 10  # iterations of a parallel loop, unless the author says otherwise


def _children(compiling: Compiling, step: Step, value: JSONValue, place: Place, name: str) -> tuple[Branch, tuple[str, ...]]:
    """Steps as one branch with one state, which is the compiler's own."""
    if not isinstance(value, (list, dict)):
        compiling.found.error(place, f"'children' must be a list or an object of steps; {shown(value)} stands there.", INVALID_VALUE)
        value = {}
    work, ids = graph_of(compiling, value, place)
    inner = f"{step.id} ({name})"
    return Branch(start_at=inner, states={inner: State(name=inner, kind="Parallel", work=work, language="JSONata", output=Outputs(ids))}), ids


def _member(step: Step, name: str) -> tuple[JSONValue, Place]:
    """A member that stands in the step or in its config."""
    return (step.given[name], step.at(name)) if name in step.given else (step.config.get(name), step.at("config", name))


def _group(compiling: Compiling, step: Step) -> State:
    value, place = _member(step, "children")
    if value is None:
        compiling.found.error(step.place, "'children' is missing: the steps of the group.", MISSING_FIELD)
    work, ids = graph_of(compiling, value if isinstance(value, (list, dict)) else {}, place)
    return state_of(compiling, step, "Parallel", work, shape=Outputs(ids))


def _branch(compiling: Compiling, step: Step) -> State:
    value, place = _member(step, "branches")
    if value is None and ("condition" in step.given or "condition" in step.config):
        return _either(compiling, step)
    if not isinstance(value, list) or not value:
        compiling.found.error(place, "'branches' is missing: a list of {condition, label, children}.", MISSING_FIELD)
        return state_of(compiling, step, "Parallel", SwitchWork(cases=()))
    read = [(read_object(compiling.found, part, (*place, index), BRANCH), (*place, index)) for index, part in enumerate(value)]
    read.sort(key=lambda part: (part[0].get("condition", DEFAULT) == DEFAULT, part[0].get("priority", 0)))
    cases = [_case(compiling, step, part, at, number) for number, (part, at) in enumerate(read)]
    return state_of(compiling, step, "Parallel", SwitchWork(cases=tuple(cases)), shape=_Chosen())


def _case(compiling: Compiling, step: Step, part: JSONObject, place: Place, number: int) -> Case:
    wanted = part.get("condition", DEFAULT)
    condition = None if wanted == DEFAULT else compiling.condition(wanted, (*place, "condition"))
    label = part.get("label") or (DEFAULT if wanted == DEFAULT else str(wanted))
    return _labelled(compiling, step, part.get("children", {}), (*place, "children"), label=label, number=number, condition=condition)


def _labelled(compiling: Compiling, step: Step, children: JSONValue, place: Place, *, label: str, number: int, condition: Template | None) -> Case:
    branch, ids = _children(compiling, step, children, place, f"branch {number + 1}")
    [state] = branch.states.values()
    made = State(name=state.name, kind=state.kind, work=state.work, language="JSONata", output=Outputs(ids, (("selectedBranch", label),)))
    return Case(branch=Branch(start_at=made.name, states={made.name: made}), label=label, condition=condition)


def _either(compiling: Compiling, step: Step) -> State:
    """``condition`` with ``children`` and ``elseChildren``."""
    value, place = _member(step, "condition")
    cases = []
    for number, (member, label) in enumerate((("children", "true"), ("elseChildren", "false"))):
        children, at = _member(step, member)
        condition = compiling.condition(value, place) if number == 0 else None
        cases.append(_labelled(compiling, step, children or {}, at, label=label, number=number, condition=condition))
    return state_of(compiling, step, "Parallel", SwitchWork(cases=tuple(cases)), shape=_Chosen())


@dataclass(frozen=True, slots=True)
class _Chosen:
    def evaluate(self, environment: Environment) -> JSONValue:
        """The output of the branch that was taken; ``selectedBranch`` null if none was."""
        result = environment.states["result"]
        return result if isinstance(result, dict) else {"selectedBranch": None}


def _loop(compiling: Compiling, step: Step) -> State:
    given, place = _loop_members(compiling, step)
    kind: Any = given.get("type") or ("while" if "condition" in given and "source" not in given else "count" if "count" in given else "forEach")
    if kind not in ("forEach", "while", "count"):
        compiling.found.error((*place, "type"), f"'type' must be forEach, while or count; {shown(kind)} stands there.", INVALID_VALUE)
        kind = "count"
    needed = {"forEach": "source", "while": "condition", "count": "count"}[kind]
    if needed not in given:
        compiling.found.error(place, f"'{needed}' is missing: a {kind} loop needs it.", MISSING_FIELD)
    body = _body(compiling, step, given, place)
    at_once = given.get("concurrency", AT_ONCE) if given.get("parallel") and kind != "while" else 1
    most = given.get("maxIterations", MOST_ITERATIONS)
    for name, number in (("concurrency", at_once), ("maxIterations", most)):
        if number < 1:
            compiling.found.error((*place, name), f"'{name}' must be 1 or more; {shown(number)} stands there.", INVALID_VALUE)
    work = LoopWork(
        kind=kind,
        body=body,
        items=_field(compiling, "source", given.get("source"), place) if kind == "forEach" else None,
        count=_field(compiling, "count", given.get("count"), place) if kind == "count" else None,
        condition=compiling.condition(given["condition"], (*place, "condition")) if kind == "while" and "condition" in given else None,
        skip_when=compiling.condition(given["continueCondition"], (*place, "continueCondition")) if "continueCondition" in given else None,
        break_when=compiling.condition(given["breakCondition"], (*place, "breakCondition")) if "breakCondition" in given else None,
        max_iterations=max(1, most),
        concurrency=max(1, at_once),
        item_variable=given.get("itemVar", "item"),
        index_variable=given.get("indexVar", "index"),
        source=None if needed not in given else str(given[needed]),
    )
    return state_of(compiling, step, "Map", work, shape=LoopEnded())


def _loop_members(compiling: Compiling, step: Step) -> tuple[JSONObject, Place]:
    """The members of the loop, in either spelling."""
    if "loop" in step.given:
        given = read_object(compiling.found, step.given["loop"], step.at("loop"), LOOP)
        if "items" in given:
            given.setdefault("source", given["items"])
        return given, step.at("loop")
    if step.type == "loop" and "loopOver" not in step.given and "loopCondition" not in step.given:
        return read_object(compiling.found, step.config, step.at("config"), LOOP), step.at("config")
    names = {
        "loopOver": "source",
        "loopVar": "itemVar",
        "loopCondition": "condition",
        "maxIterations": "maxIterations",
        "parallel": "parallel",
        "maxConcurrency": "concurrency",
    }
    return {name: step.given[other] for other, name in names.items() if other in step.given}, step.place


def _field(compiling: Compiling, name: str, value: JSONValue, place: Place) -> Field:
    """A list or a number: as it is, an expression, or the name of a variable."""
    if isinstance(value, str) and not has_braces(value):
        value = f"{{{{{value}}}}}"
    if has_braces(value):
        return Field(name=name, template=compiling.template(value, (*place, name)))
    return Field(name=name, constant=value)


def _body(compiling: Compiling, step: Step, given: JSONObject, place: Place) -> Branch:
    """The children, or the step itself without its loop."""
    if "children" in given:
        return _children(compiling, step, given["children"], (*place, "children"), "body")[0]
    if "children" in step.given:
        return _children(compiling, step, step.given["children"], step.at("children"), "body")[0]
    loops = {"loop", "loopOver", "loopVar", "loopCondition", "maxIterations", "parallel", "maxConcurrency", "when", "dependsOn"}
    inner = {name: value for name, value in step.given.items() if name not in loops}
    if step.type == "loop":
        compiling.found.error(step.place, "'children' is missing: the steps of the loop.", MISSING_FIELD)
        return Branch(start_at="nothing", states={})
    branch = branch_of(compiling, Step(step.id, step.place, inner, step.type, step.config))
    states = {name: replace(state, output=Returned()) if name == step.id else state for name, state in branch.states.items()}
    return Branch(start_at=branch.start_at, states=states)


KINDS: Mapping[str, Lower] = {"group": _group, "branch": _branch, "loop": _loop}
