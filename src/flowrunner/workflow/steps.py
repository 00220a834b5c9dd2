"""A step becomes a branch of a graph: its own state, and where it goes on if it may fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from flowrunner.core.program import Branch, Catcher, GraphNode, GraphWork, Kind, PassWork, Retrier, State, Template, Work
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.braces import has_braces
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant, shown
from flowrunner.workflow.compiling import EVERYTHING, Compiling, Step, is_there
from flowrunner.workflow.fields import DUPLICATE_ID, INVALID_VALUE, MISSING_FIELD, OLDER_NAMES, RETRY, STEP, read_object
from flowrunner.workflow.members import check_step
from flowrunner.workflow.order import check_order, needs_of
from flowrunner.workflow.paths import Path, read_path
from flowrunner.workflow.templates import Constant, Failed, Inner, Kept, Named, Succeeded
from flowrunner.workflow.templateuse import check_use

UNKNOWN_KIND = "UNKNOWN_KIND"
ID_CHARACTERS = 128
NAME_CHARACTERS = 256  # every note about the step has it
IGNORED_FIELD = "IGNORED_FIELD"
HIDDEN = "HIDDEN_VARIABLE"
RETURNS = "returns"  # the parameter of a kind that names variables to set
TASK = "task"  # the lower of all kinds that have none of their own


def graph_of(compiling: Compiling, value: JSONValue, place: Place, *, limit: int | None = None, in_order: bool = False) -> tuple[GraphWork, tuple[str, ...]]:
    """The steps of one level, and their ids. `in_order`: those of a list without any ``dependsOn`` run one after the other."""
    steps = steps_of(compiling, value, place, in_order=in_order)
    for step in steps:
        check_step(compiling, step)
        compiling.needs[step.id] = step.needs
    order = {step.id: index for index, step in enumerate(steps)}
    nodes = tuple(
        GraphNode(
            branch=branch_of(compiling.after(step.needs[-1] if step.needs else None), step),
            needs=tuple(order[name] for name in step.needs),
            any=step.waits_for_any,
            counts=Succeeded(step.id),
        )
        for step in steps
    )
    return GraphWork(nodes=nodes, max_concurrency=limit), tuple(order)


def steps_of(compiling: Compiling, value: JSONValue, place: Place, *, in_order: bool = False) -> list[Step]:
    """The steps of one level, read but not compiled; see `graph_of`."""
    raw = _named(compiling, value, place)
    needs = needs_of(compiling.found, raw)
    if in_order and isinstance(value, list) and not any("dependsOn" in given for given, _ in raw.values()):
        names = list(raw)
        needs = {name: names[index - 1 : index] if index else [] for index, name in enumerate(names)}
    check_order(compiling.found, needs, place)
    return [_step(compiling, name, given, at, tuple(needs[name])) for name, (given, at) in raw.items()]


def _named(compiling: Compiling, value: JSONValue, place: Place) -> dict[str, tuple[JSONObject, Place]]:
    """Steps by their ids, of an object or of a list."""
    found = compiling.found
    pairs: Iterable[tuple[str | None, JSONValue, Place]]
    if isinstance(value, list):
        pairs = ((None, step, (*place, index)) for index, step in enumerate(value))
    else:
        pairs = ((key, step, (*place, key)) for key, step in value.items())
    named: dict[str, tuple[JSONObject, Place]] = {}
    for key, given, at in pairs:
        step = read_object(found, given, at, STEP)
        name = step.get("id") or key
        if name is None:
            found.error(at, "'id' is missing: steps in a list say what they are called.", MISSING_FIELD)
            continue
        if key is not None and name != key:
            found.error((*at, "id"), f"The step stands under '{key}' but calls itself '{name}'.", INVALID_VALUE)
            name = key
        if not name.strip() or len(name) > ID_CHARACTERS:
            found.error(at, f"The id of a step has 1 to {ID_CHARACTERS} characters.", INVALID_VALUE)
        if len(step.get("name") or "") > NAME_CHARACTERS:
            found.error((*at, "name"), f"The name of a step has at most {NAME_CHARACTERS} characters.", INVALID_VALUE)
        if "." in name:
            found.error(at, f"The id of a step has no dots: '{name}'.", INVALID_VALUE)
        if name in compiling.ids:
            found.error(at, f"There is a step '{name}' already.", DUPLICATE_ID)
            continue
        compiling.ids[name] = at
        named[name] = (step, at)
    return named


def _step(compiling: Compiling, name: str, given: JSONObject, place: Place, needs: tuple[str, ...]) -> Step:
    template = given.get("actionTemplateId")
    gives: JSONObject = {}
    if template is not None:
        given = _expanded(compiling, given, template, place)
        gives = compiling.templates.get(template, {}).get("outputs", {})
    wanted = given.get("onError", "abort")
    if wanted not in ("abort", "continue", "retry"):
        compiling.found.error((*place, "onError"), f"'onError' must be abort, continue or retry; {shown(wanted)} stands there.", INVALID_VALUE)
    kind = given.get("type") or _kind_by_members(given)
    if kind is None:
        compiling.found.error(place, "'type' is missing: it says what the step does.", MISSING_FIELD)
    return Step(name, place, given, OLDER_NAMES.get(kind or "", kind or ""), given.get("config", {}), needs, gives=gives)


def _kind_by_members(given: JSONObject) -> str | None:
    """What a step without a type can only be."""
    if {"loop", "loopOver", "loopCondition"} & given.keys():
        return "loop"
    if any(is_there(given.get(name)) for name in ("branches", "elseChildren")):
        return "branch"
    return "group" if "children" in given else None


def _expanded(compiling: Compiling, given: JSONObject, name: str, place: Place) -> JSONObject:
    """A step made from an action template: the template's type and config, the step's inputs over the template's defaults."""
    template = compiling.templates.get(name)
    if template is None:
        compiling.found.error((*place, "actionTemplateId"), f"There is no action template '{name}'.", UNKNOWN_KIND, hint=meant(name, compiling.templates))
        return {**given, "type": given.get("type", "group"), "children": {}}
    parameters = [part for part in template.get("parameters", []) if isinstance(part, dict) and isinstance(part.get("name"), str)]
    check_use(compiling, given, name, template, place)
    inputs = {part["name"]: part["default"] for part in parameters if "default" in part} | given.get("inputs", {})
    for part in parameters:
        if part.get("required") and part["name"] not in inputs:
            compiling.found.error((*place, "inputs"), f"'{part['name']}' is missing: the action template '{name}' needs it.", MISSING_FIELD)
    return {
        **given,
        "type": template.get("type", given.get("type")),
        "config": {**template.get("config", {}), **given.get("config", {})},
        "inputs": inputs,
    }


def branch_of(compiling: Compiling, step: Step) -> Branch:
    """The states of one step."""
    lower = compiling.lowers.get("loop" if step.loops else step.type, compiling.lowers[TASK])
    states = [lower(compiling, step)]
    if step.goes_on:
        states.append(State(name=after(step), kind="Pass", work=PassWork(), language="JSONata"))
    return Branch(start_at=step.id, states={state.name: state for state in states})


def after(step: Step) -> str:
    """The state where a step goes on that failed."""
    return f"{step.id} (failed)"


def state_of(
    compiling: Compiling, step: Step, kind: Kind, work: Work, *, arguments: Template | None = None, shape: Template | None = None, inner: Inner | None = None
) -> State:
    """The state of a step: its condition, its retries, what it assigns. `shape` makes the step's output of what the state gives; `inner` are the steps within."""
    given = step.given
    when: Template | None = Constant(value=False) if given.get("disabled") else None
    if when is None and "when" in given:
        when = compiling.condition(given["when"], step.at("when"))
    if kind != "Task" and "timeout" in given:
        said = f"'timeout' has no effect here: it bounds steps that work outside, not {step.type}. Give it to the steps within, or to the workflow."
        compiling.found.warning(step.at("timeout"), said, IGNORED_FIELD)
    caught = (Catcher(error_equals=EVERYTHING, next=after(step), output=Constant(None), assign=Failed(step.id)),)
    return State(
        name=step.id,
        kind=kind,
        work=work,
        language="JSONata",
        arguments=arguments,
        assign=replace(_kept(compiling, step, shape), inner=inner),
        retriers=retriers_of(compiling, step),
        catchers=caught if step.goes_on else (),
        when=when,
        label=step.label,
    )


def ignores(compiling: Compiling, step: Step, *members: str) -> None:
    """Say which members have no effect in a step of this kind, though others have them."""
    for member in members:
        if step.given.get(member):
            said = f"'{member}' has no effect here: a {step.type} has nothing that it could be put into. Give it to the steps that use it."
            compiling.found.warning(step.at(member), said, IGNORED_FIELD)


def own_members(compiling: Compiling, step: Step) -> Compiling:
    """What the members of a step that waits, branches or repeats are compiled with: they see its inputs."""
    if step.given.get("dataMappers"):
        said = f"'dataMappers' have no effect here: a {step.type} has no config that is sent. Name the output where it is needed, such as {{{{STEP.PATH}}}}."
        compiling.found.warning(step.at("dataMappers"), said, IGNORED_FIELD)
    return compiling.with_inputs(step)


def _kept(compiling: Compiling, step: Step, shape: Template | None) -> Kept:
    paths: dict[str, Path] = {}
    templates: dict[str, Template] = {}
    gone: dict[str, None] = {}
    if step.gives:
        shape = _named_outputs(compiling, step, shape)
    for place, name, source in sources_of(compiling, step):
        if "." in name:
            compiling.found.error(place, f"The name of a variable has no dots: '{name}'.", INVALID_VALUE)
        if not name:
            compiling.found.refuse(place, "The name of a variable is empty.", INVALID_VALUE, hint="Give it a name, such as userId.")
        if name.startswith("$"):
            compiling.found.refuse(place, f"The name of a variable does not begin with $: '{name}'.", INVALID_VALUE)
        if name in compiling.hidden:
            said = f"'{name}' is a variable of the loop around: within the loop it hides what is set here, which is seen only after it."
            compiling.found.warning(place, said, HIDDEN, hint="Call one of them otherwise.")
        gone.pop(name, None)
        if source is None:
            gone[name] = None
        elif not isinstance(source, str) or has_braces(source):
            templates[name] = compiling.template(source, place)
        elif (path := read_path(source)) is None:
            compiling.found.error(place, f"{shown(source)} is no path such as body.items[0].id.", INVALID_VALUE)
        else:
            paths[name] = path
    return Kept(step.id, paths, templates, shape, tuple(gone))


def _named_outputs(compiling: Compiling, step: Step, shape: Template | None) -> Template:
    """The output of a step with what its action template names in it. Faults are the template's, which stands elsewhere: they are told where it is named."""
    place = step.at("actionTemplateId")
    own = Compiling(found=Findings(kept=compiling.found.kept), kinds=compiling.kinds, templates={}, lowers={}, previous=compiling.previous)
    paths, templates = read_outputs(own, step.gives, ())
    for said in own.found.diagnostics():
        compiling.found.refuse(place, f"The outputs of the action template '{step.given['actionTemplateId']}': {said.message}", INVALID_VALUE, hint=said.hint)
    return Named(paths, templates, shape)


def read_outputs(compiling: Compiling, outputs: JSONObject, place: Place) -> tuple[dict[str, Path], dict[str, Template]]:
    """The paths and the expressions of what an action template gives, by name."""
    paths: dict[str, Path] = {}
    templates: dict[str, Template] = {}
    for name, source in outputs.items():
        if not name.strip() or "." in name:
            compiling.found.refuse((*place, name), f"The name of an output has no dots and is not empty: '{name}'.", INVALID_VALUE)
        elif not isinstance(source, str) or has_braces(source):
            templates[name] = compiling.template(source, (*place, name))
        elif (path := read_path(source)) is None:
            compiling.found.refuse((*place, name), f"{shown(source)} is no path such as body.items[0].id.", INVALID_VALUE)
        else:
            paths[name] = path
    return paths, templates


def sources_of(compiling: Compiling, step: Step) -> Iterator[tuple[Place, str, JSONValue]]:
    """(place, variable, source) for each variable that the step sets or, with the source null, deletes; the last of a name counts for that."""
    for index, name in enumerate(_returned(compiling, step)):
        yield (*step.at("config", RETURNS), index), name, name
    for member in ("outputs", "output"):
        for name, source in step.given.get(member, {}).items():
            yield step.at(member, name), name, source


def _returned(compiling: Compiling, step: Step) -> list[str]:
    """The variables that a step sets from fields of its output that have their names, if its kind knows of such."""
    info = compiling.kinds.get(step.type)
    if info is None or RETURNS not in info.parameters.get("properties", {}) or RETURNS not in step.config:
        return []
    names = step.config[RETURNS]
    if isinstance(names, list) and all(isinstance(name, str) and read_path(name) == (name,) and not has_braces(name) for name in names):
        return names
    said = f"'{RETURNS}' must be a list of the names of fields, without expressions; {shown(names)} stands there."
    compiling.found.refuse(step.at("config", RETURNS), said, INVALID_VALUE, hint="Use 'output' for paths and expressions.")
    return []


def retriers_of(compiling: Compiling, step: Step) -> tuple[Retrier, ...]:
    """When and how often the step is tried again."""
    given = step.given
    retry = read_object(compiling.found, given["retry"], step.at("retry"), RETRY) if "retry" in given else {}
    retries = retry.get("maxAttempts", 3 if "retry" in given or given.get("onError") == "retry" else 1) - 1
    if "retryCount" in given:
        retries = given["retryCount"]
    if retries < 0:
        place = step.at("retryCount") if "retryCount" in given else step.at("retry", "maxAttempts")
        compiling.found.error(place, "The number of attempts must be 1 or more, that of retries 0 or more.", INVALID_VALUE)
    interval = ("retry", "interval") if "interval" in retry else ("retryDelay",)
    wait = compiling.milliseconds(retry.get("interval", given.get("retryDelay", 1000)), step.at(*interval), unit="ms")
    most = compiling.milliseconds(retry["maxInterval"], step.at("retry", "maxInterval"), unit="ms") if "maxInterval" in retry else None
    backoff = retry.get("backoff", "exponential" if "backoffRate" in retry else "fixed")
    if backoff not in ("fixed", "linear", "exponential"):
        compiling.found.error(step.at("retry", "backoff"), f"'backoff' must be fixed, linear or exponential; {shown(backoff)} stands there.", INVALID_VALUE)
    if retry.get("backoffRate", 1.0) < 1:
        compiling.found.error(step.at("retry", "backoffRate"), "'backoffRate' must be 1 or more.", INVALID_VALUE)
    if retries <= 0:
        return ()
    return (
        Retrier(
            error_equals=EVERYTHING,
            interval_seconds=(wait or 0) / 1000,
            max_attempts=retries,
            backoff_rate=retry.get("backoffRate", 2.0) if backoff == "exponential" else 1.0,
            max_delay_seconds=None if most is None else most / 1000,
            full_jitter=bool(retry.get("jitter")),
            linear=backoff == "linear",
        ),
    )
