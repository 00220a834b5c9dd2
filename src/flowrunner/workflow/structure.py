"""Steps that are made of others: groups, branches, loops."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flowrunner.core.loops import MOST_COUNTED
from flowrunner.core.program import Branch, Case, Field, LoopWork, State, SwitchWork, Template
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.braces import has_braces
from flowrunner.reading.findings import Place
from flowrunner.reading.wording import shown
from flowrunner.workflow.compiling import Compiling, Step, is_there, steps_repeated
from flowrunner.workflow.fields import BRANCH, DEFAULT, INVALID_VALUE, LOOP, MISSING_FIELD, OLDER_LOOP, kind_of, read_object
from flowrunner.workflow.steps import RETURNS, branch_of, graph_of, ignores, own_members, state_of
from flowrunner.workflow.templates import Chosen, Inner, Kept, LoopEnded, Outputs, Returned, Taken

MOST_ITERATIONS = 100  # unless the author says otherwise
LOOP_MEMBERS = frozenset({"loop", "loopOver", "loopVar", "loopCondition", "maxIterations", "parallel", "maxConcurrency", "when", "dependsOn", "continueOnFail"})
ITERATION_MEMBERS = frozenset({"retry", "retryCount", "retryDelay", "timeout"})
Fits = Callable[[JSONValue], tuple[bool, str, str]]  # whether a constant fits, what it must be, and the remedy
LOOP_VARIABLES = frozenset({"loopIndex", "loopCount", "loopTotal", "loopFirst", "loopLast", "loopItem"})
AT_ONCE = 10  # iterations of a parallel loop, unless the author says otherwise


def _children(compiling: Compiling, step: Step, value: JSONValue, place: Place, name: str) -> tuple[Branch, tuple[str, ...]]:
    """Steps as one branch with one state, which is the compiler's own."""
    if not isinstance(value, (list, dict)):
        compiling.found.error(place, f"'children' must be a list or an object of steps; {shown(value)} stands there.", INVALID_VALUE)
        value = {}
    work, ids = graph_of(compiling, value, place, in_order=True)
    inner = f"{step.id} ({name})"
    return Branch(start_at=inner, states={inner: State(name=inner, kind="Parallel", work=work, language="JSONata", output=Outputs(ids))}), ids


def group(compiling: Compiling, step: Step) -> State:
    """Steps that are one step to others."""
    ignores(compiling, step, "input", "inputs", "dataMappers")
    value, place = step.member("children")
    if value is None:
        compiling.found.error(step.place, "'children' is missing: the steps of the group.", MISSING_FIELD)
    known = len(compiling.ids)
    work, ids = graph_of(compiling, value if isinstance(value, (list, dict)) else {}, place, in_order=True)
    return state_of(compiling, step, "Parallel", work, shape=Outputs(ids), inner=Inner(_since(compiling, known)))


def _since(compiling: Compiling, known: int) -> tuple[str, ...]:
    """The ids of the steps that were read since there were `known` ones."""
    return tuple(compiling.ids)[known:]


def branch(compiling: Compiling, step: Step) -> State:
    """One of several ways, by conditions."""
    value, place = step.member("branches")
    if not is_there(value) and ("condition" in step.given or "condition" in step.config):
        return _either(compiling, step)
    if not isinstance(value, list) or not value:
        compiling.found.error(place, "'branches' is missing: a list of {condition, label, children}.", MISSING_FIELD)
        return state_of(compiling, step, "Parallel", SwitchWork(cases=()))
    read = [(read_object(compiling.found, part, (*place, index), BRANCH), (*place, index)) for index, part in enumerate(value)]
    read.sort(key=lambda part: (part[0].get("condition", DEFAULT) == DEFAULT, part[0].get("priority", 0)))
    own = own_members(compiling, step)
    ways = _Ways(compiling)
    for number, (part, at) in enumerate(read):
        ways.add(_case(compiling, own, step, part, at, number=number))
    return ways.state(step)


class _Ways:
    """The branches of a step, with the steps within each."""

    def __init__(self, compiling: Compiling) -> None:
        self._compiling = compiling
        self._known = self._last = len(compiling.ids)
        self._cases: list[Case] = []
        self._ids: list[tuple[str, ...]] = []

    def add(self, case: Case) -> None:
        """One more; its steps are those that were read since the one before."""
        self._cases.append(case)
        self._ids.append(_since(self._compiling, self._last))
        self._last = len(self._compiling.ids)

    def state(self, step: Step) -> State:
        """The state of the step."""
        inner = Inner(_since(self._compiling, self._known), tuple(self._ids))
        return state_of(self._compiling, step, "Parallel", SwitchWork(cases=tuple(self._cases)), shape=Chosen(), inner=inner)


def _case(compiling: Compiling, own: Compiling, step: Step, part: JSONObject, place: Place, *, number: int) -> Case:
    wanted = part.get("condition", DEFAULT)
    condition = None if wanted == DEFAULT else own.condition(wanted, (*place, "condition"))
    label = part.get("label") or (DEFAULT if wanted == DEFAULT else str(wanted))
    return _labelled(compiling, step, part.get("children", {}), (*place, "children"), label=label, number=number, condition=condition)


def _labelled(compiling: Compiling, step: Step, children: JSONValue, place: Place, *, label: str, number: int, condition: Template | None) -> Case:
    branch, ids = _children(compiling, step, children, place, f"branch {number + 1}")
    [state] = branch.states.values()
    given = Taken(number, Outputs(ids, (("selectedBranch", label),)))
    made = State(name=state.name, kind=state.kind, work=state.work, language="JSONata", output=given)
    return Case(branch=Branch(start_at=made.name, states={made.name: made}), label=label, condition=condition)


def _either(compiling: Compiling, step: Step) -> State:
    """``condition`` with ``children`` and perhaps ``elseChildren``."""
    value, place = step.member("condition")
    own, ways = own_members(compiling, step), _Ways(compiling)
    for number, (member, label) in enumerate((("children", "true"), ("elseChildren", "false"))):
        children, at = step.member(member)
        if number and children is None:
            continue
        condition = own.condition(value, place) if number == 0 else None
        ways.add(_labelled(compiling, step, children or {}, at, label=label, number=number, condition=condition))
    return ways.state(step)


def loop(compiling: Compiling, step: Step) -> State:
    """Children, or the step itself, again and again."""
    given, place = loop_members(compiling, step)
    kind: Any = kind_of(given)
    if kind not in ("forEach", "while", "count"):
        compiling.found.error((*place, "type"), f"'type' must be forEach, while or count; {shown(kind)} stands there.", INVALID_VALUE)
        kind = "count"
    needed = {"forEach": "source", "while": "condition", "count": "count"}[kind]
    if needed not in given:
        compiling.found.error(place, f"'{needed}' is missing: a {kind} loop needs it.", MISSING_FIELD)
    _check_names(compiling, given, place)
    known = len(compiling.ids)
    body, outer = _body(replace(compiling, hidden=compiling.hidden | _own_variables(given)), step, given, place)
    inner = Inner(_since(compiling, known))
    own = own_members(compiling, step) if step.type == "loop" else compiling
    at_once = given.get("concurrency", AT_ONCE) if given.get("parallel") and kind != "while" else 1
    most = given.get("maxIterations", MOST_ITERATIONS)
    for name, number in (("concurrency", at_once), ("maxIterations", most)):
        if number < 1:
            compiling.found.error((*place, name), f"'{name}' must be 1 or more; {shown(number)} stands there.", INVALID_VALUE)
        elif number > MOST_COUNTED:
            compiling.found.refuse((*place, name), f"'{name}' must be at most {MOST_COUNTED}; {shown(number)} stands there.", INVALID_VALUE)
    work = LoopWork(
        kind=kind,
        body=body,
        items=_field(own, "source", given.get("source"), place, _is_list) if kind == "forEach" else None,
        count=_field(own, "count", given.get("count"), place, _is_count) if kind == "count" else None,
        condition=own.condition(given["condition"], (*place, "condition")) if kind == "while" and "condition" in given else None,
        skip_when=own.condition(given["continueCondition"], (*place, "continueCondition")) if "continueCondition" in given else None,
        break_when=own.condition(given["breakCondition"], (*place, "breakCondition")) if "breakCondition" in given else None,
        max_iterations=min(max(1, most), MOST_COUNTED),
        concurrency=min(max(1, at_once), MOST_COUNTED),
        item_variable=given.get("itemVar", "item"),
        index_variable=given.get("indexVar", "index"),
        keeps_going=step.goes_on,
        source=None if needed not in given else str(given[needed]),
    )
    return state_of(compiling, outer, "Map", work, shape=LoopEnded(), inner=inner)


def _own_variables(given: JSONObject) -> frozenset[str]:
    """The variables that each iteration of a loop has."""
    named = (given.get("itemVar", "item"), given.get("indexVar", "index"))
    return LOOP_VARIABLES.union(name for name in named if isinstance(name, str))


def loop_members(compiling: Compiling, step: Step) -> tuple[JSONObject, Place]:
    """The members of the loop, in either spelling."""
    if "loop" in step.given:
        given = read_object(compiling.found, step.given["loop"], step.at("loop"), LOOP)
        if "items" in given:
            given.setdefault("source", given["items"])
        return given, step.at("loop")
    if step.type == "loop" and "loopOver" not in step.given and "loopCondition" not in step.given:
        return read_object(compiling.found, step.config, step.at("config"), LOOP), step.at("config")
    return {name: step.given[other] for other, name in OLDER_LOOP.items() if other in step.given}, step.place


def named_value(value: JSONValue) -> JSONValue:
    """A source or count: a text without an expression is the name of a variable."""
    return f"{{{{{value}}}}}" if isinstance(value, str) and not has_braces(value) else value


def _field(compiling: Compiling, name: str, value: JSONValue, place: Place, fits: Fits) -> Field:
    """A list or a number: as it is, an expression, or the name of a variable."""
    value = named_value(value)
    if has_braces(value):
        return Field(name=name, template=compiling.template(value, (*place, name)))
    if value is not None and not (said := fits(value))[0]:
        compiling.found.refuse((*place, name), f"'{name}' must be {said[1]}; {shown(value)} stands there.", INVALID_VALUE, hint=said[2])
    return Field(name=name, constant=value)


def _is_list(value: JSONValue) -> tuple[bool, str, str]:
    return isinstance(value, list), "a list, or an expression that gives one", "Write a list, or the name of a variable that holds one."


def _is_count(value: JSONValue) -> tuple[bool, str, str]:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and 0 <= value <= MOST_COUNTED, "a whole number from 0 on, or an expression that gives one", "Write how often, such as 3 or {{times}}."


def _check_names(compiling: Compiling, given: JSONObject, place: Place) -> None:
    """The variables of an item and of an index can be named in expressions."""
    for member in ("itemVar", "indexVar"):
        name = given.get(member)
        if name is not None and (not isinstance(name, str) or re.fullmatch(r"[A-Za-z_][\w-]*", name) is None):
            said = f"'{member}' must be the name of a variable, without dots and blanks; {shown(name)} stands there."
            compiling.found.refuse((*place, member), said, INVALID_VALUE, hint=f"Write {member}: item, or another word.")


def _body(compiling: Compiling, step: Step, given: JSONObject, place: Place) -> tuple[Branch, Step]:
    """What is repeated, and the step around it: the children, or the step itself without its loop, which then has the retries."""
    within = steps_repeated(step, given, place)
    if within is not None:
        return _children(compiling, step, *within, "body")[0], step
    if step.type == "loop":
        compiling.found.error(step.place, "'children' is missing: the steps of the loop.", MISSING_FIELD)
        return Branch(start_at="nothing", states={}), step
    branch = branch_of(compiling, repeated(step))
    states = {name: replace(state, output=Returned(_shape(state))) if name == step.id else state for name, state in branch.states.items()}
    return Branch(start_at=branch.start_at, states=states), around(step)


def repeated(step: Step) -> Step:
    """A step that is repeated itself, as it is within its loop."""
    inner = {name: value for name, value in step.given.items() if name not in LOOP_MEMBERS and not (name == "onError" and value == "continue")}
    return replace(step, given=inner)


def _shape(state: State) -> Template | None:
    return state.assign.shape if isinstance(state.assign, Kept) else None


def around(step: Step) -> Step:
    """What a step that is repeated says of the whole loop: each iteration has its own retries and timeout, and the variables that expressions make."""
    kept = {name: value for name, value in step.given.items() if name not in ITERATION_MEMBERS}
    for member in ("output", "outputs"):
        if member in kept:
            kept[member] = {name: source for name, source in kept[member].items() if isinstance(source, str) and not has_braces(source)}
    return replace(step, given=kept, config={name: value for name, value in step.config.items() if name != RETURNS}, gives={})
