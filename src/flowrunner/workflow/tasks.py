"""Steps whose work is done outside: kinds with a handler, other workflows, test cases."""

from __future__ import annotations

import re
from dataclasses import replace

from flowrunner.core.program import Branch, Catcher, FailWork, Field, GraphNode, GraphWork, PassWork, State, TaskWork
from flowrunner.core.variables import is_variable, wrong_name
from flowrunner.jsonvalue import JSONObject, JSONValue, mentions
from flowrunner.kinds.check import findings as parameter_findings
from flowrunner.kinds.check import place_in
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces.template import Places, nowhere
from flowrunner.reading.findings import Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.checks import ASSERTIONS, is_actual
from flowrunner.workflow.compiling import Compiling, Step, inputs_of
from flowrunner.workflow.fields import INVALID_VALUE, MAPPER, MISSING_FIELD, NOT_IN_WORKFLOWS, UNKNOWN_FIELD, read_object
from flowrunner.workflow.inputs import TRANSFORMS, Asked, Given, Mapper
from flowrunner.workflow.members import is_own
from flowrunner.workflow.paths import read_path
from flowrunner.workflow.secrets import MIXED, places_in, with_references
from flowrunner.workflow.steps import UNKNOWN_KIND, state_of
from flowrunner.workflow.templates import Called, ChildEnded, Started
from flowrunner.workflow.verdicts import Caught, Only, Refusal

RESOURCE = "arn:aws:states:::flowrunner:"
START = "arn:aws:states:::states:startExecution"
SCRIPT_NOT_FILLED = "SCRIPT_IS_NOT_FILLED"
SEES_ALL = frozenset({"script", "transform", "condition"})
HANDS_ON = frozenset({"workflow", "test-case"})  # their input is the variables of what they start, unless these are given
OF_TEMPLATE = "Name the template: actionTemplateId, with what it is given in inputs. A type is not needed then."
_IN_BRACES = re.compile(r"\{\{\s*(\$?[A-Za-z_][\w.$\[\]-]*)\s*\}\}")
_MAPPED = "{{mapped}}"  # an expression: anything may come of it


def null_places(info: KindInfo) -> Places:
    """Where in the parameters of a kind null stands for what leads nowhere: in the values that its assertions check."""
    return is_actual if ASSERTIONS in info.parameters.get("properties", {}) else nowhere


def _mappers(compiling: Compiling, step: Step, scripts: frozenset[str] = frozenset()) -> tuple[Mapper, ...]:
    """The data mappers; none of them puts anything into the parameters `scripts`."""
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
        if not isinstance(target[0], str):
            compiling.found.error((*place, "targetParam"), "'targetParam' begins with the name of a parameter, such as args[0].", INVALID_VALUE)
            continue
        if target[0] in scripts:
            said = f"Nothing is put into a script: what becomes part of '{target[0]}' could read the account's secrets."
            compiling.found.refuse((*place, "targetParam"), said, INVALID_VALUE, hint="Map it to args, which the script sees.")
        made.append(Mapper(mapper["sourceStep"], path if path[0] == "output" else ("output", *path), target, transform))
    return tuple(made)


def task(compiling: Compiling, step: Step, *, language: str = "workflow") -> State:
    """A kind that a handler carries out; `language` is what the handler is told of who asks."""
    info = compiling.kinds.get(step.type)
    if info is None:
        if step.type:
            hint = OF_TEMPLATE if step.type == "action-template" else meant(step.type, compiling.kinds)
            compiling.found.error(step.at("type"), f"There is no kind of step '{step.type}'.", UNKNOWN_KIND, hint=hint)
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
    inputs = inputs_of(compiling, step, nowhere if step.config else nulls, () if step.config else scripts)[1]
    called = Called(
        config=compiling.template(config, step.at("config"), nulls=nulls),
        given=Given(inputs, _mappers(compiling, step, info.scripts()), alone=not step.config),
        scripts=scripts,
        whole=info.name in SEES_ALL,
        language=language,
        secrets=bool(secrets),
    )
    return state_of(compiling, step, "Task", work, arguments=called)


def config_of(step: Step) -> JSONObject:
    """The config of a step; its inputs where it has none."""
    return step.config or {**step.given.get("inputs", {}), **step.given.get("input", {})}


def scripts_of(compiling: Compiling, step: Step, info: KindInfo) -> dict[str, JSONValue]:
    """The parameters that are JavaScript: nothing is put into them, for data that became code could read the account's secrets."""
    scripts: dict[str, JSONValue] = {}
    config, member = config_of(step), "config" if step.config else "input" if "input" in step.given else "inputs"
    for below, code in info.javascript(config):
        compiling.found.script(step.at(member, *below), code)
    for name in sorted(info.scripts() & config.keys()):
        source, place = config[name], step.at(member, name)
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
    mapped = mapped_in(step)
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
    """Whether a part of the input may be read by its name: by a script, a run that is started with it, or an expression of the config."""
    return info.name in SEES_ALL | HANDS_ON or mentions(step.config, name)


def mapped_in(step: Step) -> dict[str, int]:
    """The parameters that data mappers set, or set a part of; with the index of the mapper."""
    targets = [mapper.get("targetParam") if isinstance(mapper, dict) else None for mapper in step.given.get("dataMappers", ())]
    paths = [read_path(name) if isinstance(name, str) else None for name in targets]
    return {str(path[0]): index for index, path in enumerate(paths) if path is not None}


def _called(place: Place) -> str:
    """A member by its name, an item of a list by its number from 1 on."""
    return f"Item {place[-1] + 1} of '{place[-2]}'" if isinstance(place[-1], int) else f"'{place[-1]}'"


def workflow(compiling: Compiling, step: Step) -> State:
    """Another stored workflow as a run of its own."""
    _check_target(compiling, step, "workflowId", "which workflow to run")
    waits = config_of(step).get("wait", True)
    work = _start(compiling, step, waits=waits is not False)
    return state_of(compiling, step, "Task", work, arguments=_started(compiling, step, "workflowId", "workflow"), shape=ChildEnded())


def _check_target(compiling: Compiling, step: Step, name: str, what: str) -> None:
    if name not in {**mapped_in(step), **config_of(step)}:
        compiling.found.error(step.at("config"), f"'{name}' is missing: {what}.", MISSING_FIELD)
    else:
        _check(compiling, step, compiling.kinds.get(step.type), step.config)


def _start(compiling: Compiling, step: Step, *, waits: bool) -> TaskWork:
    timeout, place = step.given.get("timeout"), step.at("timeout")
    milliseconds = None if timeout is None else compiling.milliseconds(timeout, place, unit="s", limit=True)
    return TaskWork(resource=f"{START}.sync:2" if waits else START, timeout_milliseconds=milliseconds)


def _started(compiling: Compiling, step: Step, name: str, form: str) -> Started:
    variables = step.config.get("variables")
    for wrong in variables if isinstance(variables, dict) else ():
        if not is_variable(wrong):
            compiling.found.refuse(step.at("config", "variables", wrong), wrong_name(wrong), INVALID_VALUE)
    alone = not step.config and name in config_of(step)
    given = Given(inputs_of(compiling, step)[1], _mappers(compiling, step), alone=alone)
    return Started(Asked(compiling.template(step.config, step.at("config")), given), name, form)


def case(compiling: Compiling, step: Step) -> State:
    """A stored test case as an execution of its own; the step fails unless it has passed (row 24, mode 3)."""
    _check_target(compiling, step, "testId", "which test case to run")
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
    outer = replace(step, given=bounded)
    return state_of(compiling, outer, "Parallel", GraphWork(nodes=(GraphNode(branch=branch),)), shape=Only())
