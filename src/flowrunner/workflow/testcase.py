"""JSON text of a test case to Program: hooks before, the test, its assertions, hooks after, a verdict (systems.md 2.4, row 24).

A test case is one request, one command, steps that run in order, a workflow of its own (``workflowDef``), or a stored one
(``workflowId``). The verdict is ``passed``, ``failed``, ``error`` or ``skipped``; with the first and the last its execution succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flowrunner.core.program import Branch, Catcher, FailWork, Field, GraphNode, GraphWork, PassWork, Program, Route, State, TaskWork
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import limit_of_execution
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings
from flowrunner.reading.parsed import Parsed
from flowrunner.reading.scripts import Scripts
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.compiling import EVERYTHING, Compiling, Step
from flowrunner.workflow.fields import HOOK, INVALID_VALUE, MISSING_FIELD, TESTCASE, WORKFLOW, read_object
from flowrunner.workflow.inputs import Given
from flowrunner.workflow.parse import LOWERS, check_environment, check_variables, labelled, merged_variables
from flowrunner.workflow.tasks import RESOURCE
from flowrunner.workflow.templates import Called, Constant
from flowrunner.workflow.testparts import Part, chain, part_of
from flowrunner.workflow.verdicts import AnyRan, AssertionsKept, Fault, Judged, NotFailed, StageFailed, Status

NOT_RUN = ("inactive", "disabled", "skipped", "archived")
STATUSES = ("active", *NOT_RUN)


def parse_testcase(text: str, kinds: Mapping[str, KindInfo], templates: Mapping[str, JSONObject] | None = None, *, kept: bool = False) -> Parsed:
    """Read a whole test case. Never raises for what the text holds; `kinds`, `templates` and `kept` as in ``parse_workflow``."""
    found = Findings(kept=kept)
    try:
        document = read_document(text, "json")
    except InvalidDocument as error:
        found.unreadable(error, as_aws=False)
        return Parsed(None, found.diagnostics(authored=True))
    program, given = read_case(found, document.value, kinds, templates or {})
    about = given.get("objective") or given.get("description")
    return Parsed(
        None if found.failed else program,
        found.diagnostics(document.locate, authored=True),
        given.get("name") or given.get("testId"),
        about,
        scripts=Scripts(tuple(found.scripts), document),
    )


def read_case(found: Findings, value: JSONValue, kinds: Mapping[str, KindInfo], templates: Mapping[str, JSONObject]) -> tuple[Program | None, JSONObject]:
    """The program of a test case, and its sound members."""
    given = read_object(found, value, (), TESTCASE)
    compiling = Compiling(found=found, kinds=kinds, templates=templates, lowers=LOWERS)
    program = _program(compiling, given)
    compiling.check_mentions()
    return program, given


def _program(compiling: Compiling, given: JSONObject) -> Program | None:
    embedded = read_object(compiling.found, given["workflowDef"], ("workflowDef",), WORKFLOW) if "workflowDef" in given else {}
    own: dict[str, JSONValue] = given.get("variables", {})
    check_environment(compiling.found, given, ())
    check_environment(compiling.found, embedded, ("workflowDef",))
    check_variables(compiling.found, own, ("variables",))
    check_variables(compiling.found, embedded.get("variables", {}), ("workflowDef", "variables"))
    before = _hooks(compiling, given, "setupHooks", "setup")
    after = _hooks(compiling, given, "teardownHooks", "teardown")
    if given.get("status", "active") not in STATUSES:
        said = f"'status' must be one of {', '.join(STATUSES)}; {shown(given['status'])} stands there."
        compiling.found.refuse(("status",), said, INVALID_VALUE, hint=meant(given["status"], STATUSES))
    part = part_of(compiling, given, embedded)
    if part is None:
        return None
    runs = not given.get("disabled") and given.get("status") not in NOT_RUN
    return Program(
        root=_played(given, before, part, after) if runs else _skipped(given),
        language="JSONata",
        notes=True,
        shares_variables=True,
        variables=merged_variables(embedded.get("variables", {}), own),
        steps=sum(map(labelled, (before, part.work, after))) if runs else 0,
        timeout_milliseconds=_timeout(compiling, given),
        verdict="status",
        comment=given.get("objective") or given.get("description"),
    )


def _timeout(compiling: Compiling, given: JSONObject) -> int | None:
    """Of the whole test in milliseconds, where no single step has it."""
    if "timeout" not in given or "http" in given or "command" in given:
        return None
    return limit_of_execution(compiling.milliseconds(given["timeout"], ("timeout",), unit="s", limit=True))


# --- the hooks


def _hooks(compiling: Compiling, given: JSONObject, member: str, prefix: str) -> GraphWork:
    """Hooks one after the other; one that may fail does not end the others."""
    steps, always = [], []
    for index, value in enumerate(given.get(member, ())):
        place = (member, index)
        hook = read_object(compiling.found, value, place, HOOK)
        kind = hook.get("type", "http" if "http" in hook else "command" if "command" in hook else None)
        if kind not in ("http", "command"):
            compiling.found.error((*place, "type"), f"'type' must be http or command; {shown(kind)} stands there.", INVALID_VALUE)
            continue
        where = next((name for name in (kind, "config") if isinstance(hook.get(name), dict)), None)
        if where is None:
            compiling.found.error(place, f"'{kind}' is missing: what the hook does.", MISSING_FIELD)
            continue
        kept = {"output": {hook["saveResponse"]: "{{result}}"}} if "saveResponse" in hook else {}
        goes_on = {"onError": "continue"} if hook.get("continueOnError") else {}
        name = f"{prefix}-{index + 1}"
        steps.append(Step(name, place, {"name": hook.get("name") or name, **kept, **goes_on}, kind, hook[where], config_place=(*place, where)))
        always.append(bool(hook.get("runOnFailure")))
    work = chain(compiling, steps)
    return work if prefix == "setup" else replace(work, nodes=tuple(map(_guarded, work.nodes, always)))


def _guarded(node: GraphNode, always: bool) -> GraphNode:  # noqa: FBT001 - mapped over two lists
    """A hook after the test: when the test has failed it runs only if it says so."""
    first = node.branch.states[node.branch.start_at]
    states = {**node.branch.states, first.name: replace(first, when=Constant(value=True) if always else NotFailed())}
    return replace(node, branch=Branch(start_at=first.name, states=states))


# --- the states of a test


def _played(given: JSONObject, before: GraphWork, part: Part, after: GraphWork) -> Branch:
    """All stages in a row; one that fails goes on with the hooks after, and the verdict says why."""
    judged = Judged(testcase=given.get("testId"), name=given.get("name"), steps=part.ids)
    states = [_stage("setup", before)] if before.nodes else []
    states.append(_stage("test", part.work))
    if part.asserted is not None:
        states.append(_asserted(part))
    if after.nodes:
        states.append(_stage("teardown", after))
    states.append(State(name="result", kind="Pass", work=PassWork(), language="JSONata", output=judged))
    names = [state.name for state in states]
    last = "teardown" if after.nodes else "result"
    chained = []
    for index, state in enumerate(states[:-1]):
        onward = "result" if state.name == "teardown" else last
        caught = Catcher(error_equals=EVERYTHING, next=onward, output=Constant(None), assign=StageFailed(state.name))
        chained.append(replace(state, next=names[index + 1], catchers=(caught,)))
    ends = (replace(states[-1], next="verdict"), *_verdict())
    return Branch(start_at=names[0], states={state.name: state for state in (*chained, *ends)})


def _asserted(part: Part) -> State:
    """The assertions, which see what the test has given; where all of its steps were skipped there is nothing to assert."""
    work = TaskWork(resource=f"{RESOURCE}assert", secrets=part.secrets)
    called = Called(config=part.asserted or Constant({}), given=Given(Constant({})), secrets=bool(part.secrets))
    return State(name="assertions", kind="Task", work=work, language="JSONata", arguments=called, assign=AssertionsKept(), when=AnyRan(part.ids))


def _verdict() -> tuple[State, State]:
    """A test that has passed or was skipped succeeds with its result; any other fails with it, so that lists of executions tell."""
    chosen = Route(action=Status(), edges={"failed": "not passed", "error": "not passed"})
    failing = FailWork(error=Field(name="Error", template=Fault("Error")), cause=Field(name="Cause", template=Fault("Cause")))
    return (
        State(name="verdict", kind="Pass", work=PassWork(), language="JSONata", route=chosen),
        State(name="not passed", kind="Fail", work=failing, language="JSONata"),
    )


def _stage(name: str, work: GraphWork) -> State:
    return State(name=name, kind="Parallel", work=work, language="JSONata", discards_input=True, output=Constant(None))


def _skipped(given: JSONObject) -> Branch:
    judged = Judged(testcase=given.get("testId"), name=given.get("name"), steps=(), skipped=True)
    state = State(name="verdict", kind="Pass", work=PassWork(), language="JSONata", output=judged)
    return Branch(start_at="verdict", states={"verdict": state})
