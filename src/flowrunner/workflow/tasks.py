"""Steps whose work is done outside: kinds with a handler, other workflows, test cases."""

from __future__ import annotations

import re

from flowrunner.core.program import Branch, Catcher, FailWork, Field, GraphNode, GraphWork, PassWork, State, TaskWork, Template
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds.check import findings as parameter_findings
from flowrunner.kinds.check import place_in
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces.template import Places, nowhere
from flowrunner.reading.findings import Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.checks import ASSERTIONS, is_actual
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.fields import INVALID_VALUE, MAPPER, MISSING_FIELD, NOT_IN_WORKFLOWS, UNKNOWN_FIELD, read_object
from flowrunner.workflow.members import is_own
from flowrunner.workflow.paths import read_path
from flowrunner.workflow.secrets import MIXED, places_in, with_references
from flowrunner.workflow.steps import UNKNOWN_KIND, state_of
from flowrunner.workflow.templates import TRANSFORMS, Called, ChildEnded, Mapper, Started
from flowrunner.workflow.verdicts import Caught, Only, Refusal

RESOURCE = "arn:aws:states:::flowrunner:"
START = "arn:aws:states:::states:startExecution"
SCRIPT_NOT_FILLED = "SCRIPT_IS_NOT_FILLED"
SEES_ALL = frozenset({"script", "transform", "condition"})
_IN_BRACES = re.compile(r"\{\{\s*(\$?[A-Za-z_][\w.$\[\]-]*)\s*\}\}")
_MAPPED = "{{mapped}}"  # an expression: anything may come of it


def inputs_of(compiling: Compiling, step: Step, nulls: Places = nowhere) -> tuple[JSONObject, Template]:
    """What a step is given, as written and compiled; what leads nowhere is null at the places of `nulls`."""
    given = {**step.given.get("inputs", {}), **step.given.get("input", {})}
    return given, compiling.template(given, step.at("input" if "input" in step.given else "inputs"), nulls=nulls)


def null_places(info: KindInfo) -> Places:
    """Where in the parameters of a kind null stands for what leads nowhere: in the values that its assertions check."""
    return is_actual if ASSERTIONS in info.parameters.get("properties", {}) else nowhere


def _mappers(compiling: Compiling, step: Step) -> tuple[Mapper, ...]:
    made = []
    for index, value in enumerate(step.given.get("dataMappers", ())):
        place = (*step.at("dataMappers"), index)
        mapper = read_object(compiling.found, value, place, MAPPER)
        missing = [name for name in ("sourceStep", "sourcePath", "targetParam") if name not in mapper]
        if missing:
            compiling.found.error(place, f"'{missing[0]}' is missing.", MISSING_FIELD)
            continue
        compiling.mentions.append((mapper["sourceStep"], (*place, "sourceStep")))
        path, target, transform = read_path(mapper["sourcePath"]), read_path(mapper["targetParam"]), mapper.get("transform")
        if path is None or target is None:
            compiling.found.error(place, "'sourcePath' and 'targetParam' are paths such as output.body.token.", INVALID_VALUE)
            continue
        if transform is not None and transform not in TRANSFORMS:
            compiling.found.error((*place, "transform"), f"There is no transform {shown(transform)}.", INVALID_VALUE, hint=meant(transform, TRANSFORMS))
            continue
        made.append(Mapper(mapper["sourceStep"], path if path[0] == "output" else ("output", *path), tuple(map(str, target)), transform))
    return tuple(made)


def task(compiling: Compiling, step: Step, *, language: str = "workflow") -> State:
    """A kind that a handler carries out; `language` is what the handler is told of who asks."""
    info = compiling.kinds.get(step.type)
    if info is None:
        if step.type:
            compiling.found.error(step.at("type"), f"There is no kind of step '{step.type}'.", UNKNOWN_KIND, hint=meant(step.type, compiling.kinds))
        return state_of(compiling, step, "Pass", PassWork())
    if info.name in NOT_IN_WORKFLOWS:
        said = f"The kind '{info.name}' belongs to flows; a workflow has no step of it."
        (compiling.found.error if info.structural else compiling.found.refuse)(step.at("type"), said, UNKNOWN_KIND, hint=NOT_IN_WORKFLOWS[info.name])
    scripts = scripts_of(compiling, step, info)
    config = {name: value for name, value in step.config.items() if name not in scripts}
    config = with_references(compiling.found, config, step.at("config"))
    if info.name == "http.request" and "url" not in config and isinstance(config.get("path"), str):
        config = {"url": "{{baseUrl}}" + config["path"], **{name: value for name, value in config.items() if name != "path"}}
    if step.config or "actionTemplateId" not in step.given:
        _check(compiling, step, info, {**config, **scripts})
    timeout = step.given.get("timeout")
    secrets, nulls = places_in(config), null_places(info)
    work = TaskWork(
        resource=f"{RESOURCE}{info.name}",
        timeout_milliseconds=None if timeout is None else compiling.milliseconds(timeout, step.at("timeout"), unit="s", limit=True),
        secrets=secrets,
    )
    called = Called(
        config=compiling.template(config, step.at("config"), nulls=nulls),
        inputs=inputs_of(compiling, step, nowhere if config or scripts else nulls)[1],
        mappers=_mappers(compiling, step),
        scripts=scripts,
        whole=info.name in SEES_ALL,
        language=language,
        secrets=bool(secrets),
    )
    return state_of(compiling, step, "Task", work, arguments=called)


def scripts_of(compiling: Compiling, step: Step, info: KindInfo) -> dict[str, JSONValue]:
    """The parameters that are JavaScript: nothing is put into them, for data that became code could read the account's secrets."""
    scripts: dict[str, JSONValue] = {}
    for below, code in info.javascript(step.config):
        compiling.found.script(step.at("config", *below), code)
    for name in sorted(info.scripts() & step.config.keys()):
        source, place = step.config[name], step.at("config", name)
        scripts[name] = source
        found = _IN_BRACES.search(source) if isinstance(source, str) else None
        if found is None:
            continue
        if found[1].startswith("secrets."):
            compiling.found.error(place, f"A script reads a secret by its name, without braces: {found[1]}.", MIXED)
        else:
            said = f"Nothing is put into a script: write variables.{found[1]} (or input.{found[1]}) instead of {found[0]}."
            compiling.found.warning(place, said, SCRIPT_NOT_FILLED)
    return scripts


def _check(compiling: Compiling, step: Step, info: KindInfo | None, config: JSONObject) -> None:
    """What a kind says of its parameters; those that come as inputs or by data mappers are checked as far as they are known."""
    if info is None:
        return
    inputs: JSONObject = {} if step.config else {**step.given.get("inputs", {}), **step.given.get("input", {})}
    targets = [mapper.get("targetParam") if isinstance(mapper, dict) else None for mapper in step.given.get("dataMappers", ())]
    mapped = {re.split(r"[.\[]", name)[0]: index for index, name in enumerate(targets) if isinstance(name, str)}
    given = {**dict.fromkeys(mapped, _MAPPED), **config, **inputs}
    for finding in parameter_findings(info.parameters, given):
        place = place_in(given, finding.pointer)
        name, start, severe = str(place[0]) if place else "", step.at("config"), finding.severe
        from_outside = name in inputs or (name in mapped and name not in config)
        if finding.code == UNKNOWN_FIELD and (is_own(info, place) or (from_outside and _is_read(info, step, name))):
            continue
        if name in inputs:
            start = step.at("input" if name in step.given.get("input", {}) else "inputs")
        elif from_outside:
            start, place, severe = (*step.at("dataMappers"), mapped[name], "targetParam"), (), False
        say = compiling.found.refuse if severe else compiling.found.warning
        what = _called(place) if place else f"'{name}'" if name else "The parameter"
        say((*start, *place), f"{what} {finding.message}.", finding.code, hint=finding.hint)


def _is_read(info: KindInfo, step: Step, name: str) -> bool:
    """Whether a part of the input may be read by its name: by a script, by a run that the step starts, or by an expression of the config."""
    return info.name in (*SEES_ALL, "workflow", "test-case") or re.search(rf"\b{re.escape(name)}\b", dumps(step.config)) is not None


def _called(place: Place) -> str:
    """A member by its name, an item of a list by its number from 1 on."""
    return f"Item {place[-1] + 1} of '{place[-2]}'" if isinstance(place[-1], int) else f"'{place[-1]}'"


def workflow(compiling: Compiling, step: Step) -> State:
    """Another stored workflow as a run of its own."""
    waits = step.config.get("wait", True)
    if "workflowId" not in step.config:
        compiling.found.error(step.at("config"), "'workflowId' is missing: which workflow to run.", MISSING_FIELD)
    else:
        _check(compiling, step, compiling.kinds.get("workflow"), step.config)
    work = _start(compiling, step, waits=waits is not False)
    return state_of(compiling, step, "Task", work, arguments=_started(compiling, step, "workflowId", "workflow"), shape=ChildEnded())


def _start(compiling: Compiling, step: Step, *, waits: bool) -> TaskWork:
    timeout, place = step.given.get("timeout"), step.at("timeout")
    milliseconds = None if timeout is None else compiling.milliseconds(timeout, place, unit="s", limit=True)
    return TaskWork(resource=f"{START}.sync:2" if waits else START, timeout_milliseconds=milliseconds)


def _started(compiling: Compiling, step: Step, name: str, form: str) -> Started:
    given, _ = inputs_of(compiling, step)
    return Started(compiling.template({"variables": given, **step.config}, step.at("config")), name, form)


def case(compiling: Compiling, step: Step) -> State:
    """A stored test case as an execution of its own; the step fails unless it has passed (row 24, mode 3)."""
    place: Place = step.at("config")
    if "testId" not in step.config:
        compiling.found.error(place, "'testId' is missing: which test case to run.", MISSING_FIELD)
    else:
        _check(compiling, step, compiling.kinds.get("test-case"), step.config)
    run, refused = f"{step.id} (test)", f"{step.id} (verdict)"
    started = _started(compiling, step, "testId", "test")
    states = (
        State(
            name=run,
            kind="Task",
            work=_start(compiling, step, waits=True),
            language="JSONata",
            arguments=started,
            output=ChildEnded(),
            catchers=(Catcher(error_equals=("States.TaskFailed",), next=refused, output=Caught()),),
        ),
        State(
            name=refused,
            kind="Fail",
            work=FailWork(
                error=Field(name="Error", template=Refusal(started.config, "Error")),
                cause=Field(name="Cause", template=Refusal(started.config, "Cause")),
            ),
            language="JSONata",
        ),
    )
    branch = Branch(start_at=run, states={state.name: state for state in states})
    bounded = {name: value for name, value in step.given.items() if name != "timeout"}  # it is the task's within
    outer = Step(step.id, step.place, bounded, step.type, step.config, step.needs)
    return state_of(compiling, outer, "Parallel", GraphWork(nodes=(GraphNode(branch=branch),)), shape=Only())
