"""What a test case tests: one request, one command, steps of its own, a workflow of its own or a stored one; and what is asserted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from flowrunner.core.program import GraphNode, GraphWork, State, TaskWork, Template
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.dynamic import SecretPlace
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.checks import ASSERTIONS, LAST, checks_of, has_exit_code, is_actual_of, statuses_of
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.fields import INVALID_VALUE, MISSING_FIELD
from flowrunner.workflow.members import RETRIES, check_step, warn_unused
from flowrunner.workflow.parse import LOWERS
from flowrunner.workflow.secrets import places_in, with_references
from flowrunner.workflow.steps import branch_of, graph_of, state_of
from flowrunner.workflow.tasks import START, task
from flowrunner.workflow.templates import Called, ChildEnded, Started
from flowrunner.workflow.verdicts import Adopted, AllVariables, Listed

KINDS_OF_TESTS = ("http", "command", "steps", "workflowDef", "workflowId")
TYPES_OF_TESTS = {"http": ("http",), "command": ("command",), "workflow": ("workflowId", "workflowDef", "steps"), "steps": ("steps",)}
MAIN = "test"  # the step of a test that is one request, one command or one stored workflow
PER_ATTEMPT = ("timeout", "retry", "retryCount", "retryDelay")


class Part(NamedTuple):
    """What a test does: its steps, and what is asserted when they have ended, with the places of secrets in that."""

    work: GraphWork
    ids: tuple[str, ...]
    asserted: Template | None
    secrets: tuple[SecretPlace, ...] = ()


def part_of(compiling: Compiling, given: JSONObject, embedded: JSONObject) -> Part | None:
    """What a test case tests, None where that cannot be told; `embedded` are the sound members of its ``workflowDef``."""
    kind = _kind(compiling, given)
    if kind is None:
        return None
    assertions: list[JSONValue] = given.get("assertions", [])
    if kind in ("steps", "workflowDef"):
        warn_unused(compiling.found, given, (), RETRIES, why="on a test of several steps", hint="Give it to the steps.")
        of_workflow = ("timeout", "maxConcurrency")
        warn_unused(compiling.found, embedded, ("workflowDef",), of_workflow, why="within a test case", hint="A test case has a 'timeout' of its own.")
        return _steps(compiling, given, embedded, assertions)
    attempt = {name: given[name] for name in PER_ATTEMPT if name in given}
    step = Step(MAIN, (), {"name": given.get("name") or kind, **attempt}, kind, {}, config_place=(kind,))
    if kind == "http":
        return _request(compiling, given, step, assertions)
    if kind == "command":
        more = [] if has_exit_code(assertions) else [{"type": "exit_code", "expected": 0}]
        asking = replace(compiling, lowers={**LOWERS, "command": partial(task, language="test")})  # its exit code is a result, whatever it is
        work = chain(asking, [replace(step, config=given["command"])])
        return Part(work, (MAIN,), _asserted(compiling, MAIN, checks_of(compiling.found, [*assertions, *more], step=MAIN, answers=False)))
    running = replace(compiling, lowers={**LOWERS, "workflow": partial(_stored, own=frozenset(given.get("variables", {})))})
    work = chain(running, [replace(step, type="workflow", config={"workflowId": given["workflowId"]})])
    return Part(work, (MAIN,), _asserted(compiling, LAST, checks_of(compiling.found, assertions, step=LAST, answers=False, stored=True)))


def _kind(compiling: Compiling, given: JSONObject) -> str | None:
    """Which of `KINDS_OF_TESTS` it is, as its ``type`` says, too."""
    found = compiling.found
    there = [name for name in KINDS_OF_TESTS if name in given]
    if len(there) != 1:
        said = f"'{there[1]}' and '{there[0]}' exclude each other" if there else "There is nothing to test"
        known = ", ".join(KINDS_OF_TESTS)
        hint = "Take one of them out." if there else f"Add {' or '.join(TYPES_OF_TESTS.get(given.get('type', ''), KINDS_OF_TESTS))}."
        found.error((there[1],) if there else (), f"{said}: a test case has exactly one of {known}.", INVALID_VALUE if there else MISSING_FIELD, hint=hint)
        return None
    kind, type_ = there[0], given.get("type", there[0])
    if type_ not in TYPES_OF_TESTS and "type" in given:
        found.refuse(("type",), f"There is no type of test cases {shown(type_)}.", INVALID_VALUE, hint=meant(type_, TYPES_OF_TESTS))
    elif kind not in TYPES_OF_TESTS.get(type_, (kind,)):
        wanted = " or ".join(f"'{name}'" for name in TYPES_OF_TESTS[type_])
        say = found.error if type_ in KINDS_OF_TESTS[:2] else found.refuse
        say(("type",), f"A test case of the type '{type_}' needs {wanted}, but has '{kind}'.", INVALID_VALUE)
    return kind


def _request(compiling: Compiling, given: JSONObject, step: Step, assertions: list[JSONValue]) -> Part:
    """One request. What its config asserts of the answer is asserted afterwards, like all else, so that it sees the answer."""
    found, config = compiling.found, given["http"]
    listed = isinstance(config.get(ASSERTIONS), list)
    own: list[JSONValue] = config[ASSERTIONS] if listed else []
    config = {name: value for name, value in config.items() if name != ASSERTIONS} if listed else config
    statuses = statuses_of([*own, *assertions])
    checks: list[tuple[Place, list[JSONValue]]] = []
    for place, some in ((("http", ASSERTIONS), own), ((ASSERTIONS,), assertions)):
        referring = [with_references(found, one, (*place, index)) for index, one in enumerate(some)]
        checks.append((place, checks_of(found, referring, step=MAIN, answers=True, place=place)))

    def asking(compiling: Compiling, step: Step) -> State:
        state = task(compiling, step, language="test")
        if not statuses or not isinstance(state.arguments, Called):
            return state
        wanted = {"statuses": statuses, "retries": sum(retrier.max_attempts for retrier in state.retriers)}
        unheard = replace(compiling, found=Findings())  # the assertions themselves are told of
        return replace(state, arguments=replace(state.arguments, asserted=unheard.template(wanted, ())))

    work = chain(replace(compiling, lowers={**LOWERS, "http": asking}), [replace(step, config=config)])
    secrets = places_in({ASSERTIONS: [one for _, some in checks for one in some]})
    return Part(work, (MAIN,), _asserted(compiling, MAIN, *(some for _, some in checks), places=[place for place, _ in checks]), secrets)


def _asserted(compiling: Compiling, last: str | None, *checks: list[JSONValue], places: Sequence[Place] = ((ASSERTIONS,),)) -> Template | None:
    """The config of the assertions, made of lists that stand at these places; `last` is what ``$prev`` means."""
    after = compiling.after(last)
    made = [after.template(some, place, nulls=is_actual_of) for some, place in zip(checks, places, strict=True) if some]
    return Listed(ASSERTIONS, tuple(made)) if made else None


def _steps(compiling: Compiling, given: JSONObject, embedded: JSONObject, assertions: list[JSONValue]) -> Part | None:
    """Steps of the test's own, in the order of their list; or those of a workflow, by what they wait for."""
    own = "steps" in given
    steps, place = (given["steps"], ("steps",)) if own else (embedded.get("steps"), ("workflowDef", "steps"))
    if not isinstance(steps, (list, dict)) or not steps:
        compiling.found.error(place, "'steps' is missing: at least one step.", MISSING_FIELD)
        return None
    work, ids = graph_of(compiling, steps, place, in_order=own)
    labels = [state.label for node in work.nodes[-1:] for state in node.branch.states.values() if state.label is not None]
    answers = any(label.type in ("http", "http.request") for label in labels)
    last = ids[-1] if ids else MAIN
    return Part(work, ids, _asserted(compiling, last, checks_of(compiling.found, assertions, step=last, answers=answers)))


def _stored(compiling: Compiling, step: Step, *, own: frozenset[str]) -> State:
    """A run of a stored workflow, with the variables of the test over its own."""
    arguments = Started(AllVariables("workflowId", step.config["workflowId"], own), "workflowId", "workflow")
    timeout = step.given.get("timeout")
    milliseconds = None if timeout is None else compiling.milliseconds(timeout, step.at("timeout"), unit="s", limit=True)
    work = TaskWork(resource=f"{START}.sync:2", timeout_milliseconds=milliseconds)
    state = state_of(compiling, step, "Task", work, arguments=arguments, shape=ChildEnded())
    return state if state.assign is None else replace(state, assign=Adopted(state.assign, step.id))


def chain(compiling: Compiling, steps: Sequence[Step]) -> GraphWork:
    """Steps one after the other."""
    nodes = []
    for index, step in enumerate(steps):
        compiling.ids[step.id] = step.place
        check_step(compiling, step)
        before = steps[index - 1].id if index else None
        nodes.append(GraphNode(branch=branch_of(compiling.after(before), step), needs=(index - 1,) if index else ()))
    return GraphWork(nodes=tuple(nodes))
