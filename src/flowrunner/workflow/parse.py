"""JSON text to Program: reads, checks and compiles a step workflow, and says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

from flowrunner.core.program import Branch, GraphWork, Label, Program, State
from flowrunner.core.variables import is_variable, wrong_name
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import limit_of_execution
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.metadata import beyond_bounds
from flowrunner.reading.parsed import Parsed
from flowrunner.reading.scripts import Scripts
from flowrunner.workflow import structure, tasks, waiting
from flowrunner.workflow.compiling import Compiling, Lower
from flowrunner.workflow.fields import INVALID_VALUE, MISSING_FIELD, WORKFLOW, read_object
from flowrunner.workflow.members import IGNORED
from flowrunner.workflow.secrets import warn_unread
from flowrunner.workflow.steps import TASK, graph_of
from flowrunner.workflow.templates import Ended

ROOT = "workflow"
LOWERS: Mapping[str, Lower] = {
    TASK: tasks.task, "workflow": tasks.workflow, "test-case": tasks.case, "delay": waiting.delay, "wait": waiting.wait, "merge": waiting.merge,
    "group": structure.group, "branch": structure.branch, "loop": structure.loop,
}  # fmt: skip


def parse_workflow(text: str, kinds: Mapping[str, KindInfo], templates: Mapping[str, JSONObject] | None = None, *, kept: bool = False) -> Parsed:
    """Read a whole workflow. Never raises for what the text holds.

    `kinds` are those a step may have, by every name of theirs; `templates` are action templates by their ids. `kept`: it was accepted
    before, and what can be compiled runs on.
    """
    found = Findings(kept=kept)
    try:
        document = read_document(text, "json")
    except InvalidDocument as error:
        found.unreadable(error, as_aws=False)
        return Parsed(None, found.diagnostics(authored=True))
    given = read_object(found, document.value, (), WORKFLOW)
    compiling = Compiling(found=found, kinds=kinds, templates=templates or {}, lowers=LOWERS)
    program = _program(compiling, given)
    compiling.check_mentions()
    version = given.get("version")
    for name, wrong in beyond_bounds({name: given.get(name) for name in ("name", "description", "version")}):
        found.refuse((name,), wrong, INVALID_VALUE, hint="Shorten it.")
    return Parsed(
        None if found.failed else program,
        found.diagnostics(document.locate, authored=True),
        given.get("name"),
        given.get("description"),
        None if version is None else str(version),
        Scripts(tuple(found.scripts), document),
    )


def _program(compiling: Compiling, given: JSONObject) -> Program | None:
    found = compiling.found
    steps = given.get("steps")
    if not steps:
        if not found.failed:
            found.error(("steps",) if steps is not None else (), "'steps' is missing: a workflow has at least one step.", MISSING_FIELD)
        return None
    check_environment(found, given, ())
    variables: dict[str, JSONValue] = given.get("variables", {})
    check_variables(found, variables, ("variables",))
    limit = given.get("maxConcurrency")
    if limit is not None and limit < 1:
        found.error(("maxConcurrency",), "'maxConcurrency' must be 1 or more.", INVALID_VALUE)
    work, ids = graph_of(compiling, steps, ("steps",), limit=limit)
    timeout = compiling.milliseconds(given["timeout"], ("timeout",), unit="s", limit=True) if "timeout" in given else None
    # What the run was given would be written down again at each state within: expressions know it from their context.
    root = State(name=ROOT, kind="Parallel", work=work, language="JSONata", discards_input=True, output=Ended(ids))
    return Program(
        root=Branch(start_at=ROOT, states={ROOT: root}),
        language="JSONata",
        notes=True,
        shares_variables=True,
        variables=variables,
        steps=labelled(work),
        timeout_milliseconds=limit_of_execution(timeout),
        comment=given.get("description"),
    )


def check_variables(found: Findings, variables: Mapping[str, JSONValue], place: Place) -> None:
    """Say which names expressions could not reach, and which values are no secrets though they look so."""
    for name in variables:
        if not is_variable(name):
            found.error((*place, name), wrong_name(name), INVALID_VALUE)
        elif not name:
            found.refuse((*place, name), "The name of a variable is empty.", INVALID_VALUE, hint="Give it a name, such as userId.")
    warn_unread(found, variables, place)


def check_environment(found: Findings, given: JSONObject, place: Place) -> None:
    """Refuse the member `environment`: a run has the variables of the environment that is active, whichever is named."""
    if "environment" in given:  # fields.WITHOUT_EFFECT
        said = "'environment' has no effect: a run has the variables of the active environment."
        found.refuse((*place, "environment"), said, IGNORED, hint="Activate it (POST /api/v2/environments/ID/activate), and take this out.")


def labelled(work: GraphWork) -> int:
    """How many steps there are on the first level: progress is the share of them that has ended."""
    labels: list[Label] = [state.label for node in work.nodes for state in node.branch.states.values() if state.label is not None]
    return len(labels)


def merged_variables(*levels: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """Variables of several levels, a later one over those before it: environment, workflow, test case, run (row 37)."""
    values: dict[str, JSONValue] = {}
    for level in levels:
        values |= level
    return values
