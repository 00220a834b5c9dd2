"""A step becomes a branch of a graph: its own state, and where it goes on if it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flowrunner.core.program import Branch, Catcher, GraphNode, GraphWork, Kind, Label, PassWork, Retrier, State, TaskWork, Template, Work
from flowrunner.errors import ExpressionError, ExpressionSyntaxError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.check import findings as parameter_findings
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces import compile_braces, compile_condition, has_braces
from flowrunner.lang.braces.template import place_of
from flowrunner.reading.findings import Findings, Place
from flowrunner.workflow.fields import INVALID_VALUE, MAPPER, MISSING_FIELD, RETRY, STEP, meant, read_object, shown
from flowrunner.workflow.order import check_order, needs_of
from flowrunner.workflow.paths import Path, read_path
from flowrunner.workflow.secrets import places_in, with_references
from flowrunner.workflow.templates import TRANSFORMS, Called, Constant, Failed, Kept, Mapper

RESOURCE = "arn:aws:states:::flowrunner:"
EVERYTHING = ("States.ALL", "States.DataLimitExceeded")  # which States.ALL does not match
UNKNOWN_KIND = "UNKNOWN_KIND"
INVALID_EXPRESSION = "INVALID_EXPRESSION"
INVALID_PARAMETER = "INVALID_PARAMETER"
ID_CHARACTERS = 128
NAME_CHARACTERS = 256  # every note about the step has it
_MAPPED = "{{mapped}}"  # an expression: anything may come of it
DUPLICATE_ID = "DUPLICATE_ID"
SEES_ALL = frozenset({"script", "transform", "condition"})
OLDER_NAMES = {"sql": "database", "cmd": "command", "sub-workflow": "workflow", "subworkflow": "workflow", "sleep": "delay"}


@dataclass(slots=True)
class Compiling:
    """What all steps of a workflow are compiled with."""

    found: Findings
    kinds: Mapping[str, KindInfo]
    templates: Mapping[str, JSONObject]
    structures: Mapping[str, Lower]  # kinds that no handler carries out
    ids: dict[str, Place] = field(default_factory=dict)

    def condition(self, value: JSONValue, place: Place) -> Template | None:
        """A compiled condition; None when it does not compile."""
        try:
            return compile_condition(value)
        except ExpressionSyntaxError as error:
            self.found.error(place, error.message, INVALID_EXPRESSION)
            return None

    def template(self, value: JSONValue, place: Place) -> Template:
        """A compiled value."""
        try:
            return compile_braces(value)
        except ExpressionError as error:
            self.found.error((*place, *place_of(error)), error.message, INVALID_EXPRESSION)
            return Constant(None)

    def milliseconds(self, value: JSONValue, place: Place, *, unit: str) -> int | None:
        """A duration; None when it is none."""
        try:
            return read_milliseconds(value, unit=unit)
        except ValueError as error:
            self.found.error(place, f"'{place[-1]}' {error}; {shown(value)} stands there.", INVALID_VALUE)
            return None


@dataclass(frozen=True, slots=True)
class Step:
    """One step, read."""

    id: str
    place: Place
    given: JSONObject
    type: str
    config: JSONObject
    needs: tuple[str, ...] = ()

    @property
    def label(self) -> Label:
        """What streams call it."""
        return Label(id=self.id, name=self.given.get("name") or self.id, type=self.type)

    def at(self, *names: str) -> Place:
        """The place of a member."""
        return (*self.place, *names)


Lower = Callable[[Compiling, Step], State]


def graph_of(compiling: Compiling, value: JSONValue, place: Place, *, limit: int | None = None) -> tuple[GraphWork, tuple[str, ...]]:
    """The steps of one level, and their ids."""
    raw = _named(compiling, value, place)
    needs = needs_of(compiling.found, raw)
    check_order(compiling.found, needs, place)
    steps = [_step(compiling, name, given, at, tuple(needs[name])) for name, (given, at) in raw.items()]
    order = {step.id: index for index, step in enumerate(steps)}
    nodes = tuple(
        GraphNode(
            branch=branch_of(compiling, step),
            needs=tuple(order[name] for name in step.needs),
            any=step.type == "merge" and (step.config.get("mode") or step.given.get("mode")) == "any",
        )
        for step in steps
    )
    return GraphWork(nodes=nodes, max_concurrency=limit), tuple(order)


def _named(compiling: Compiling, value: JSONValue, place: Place) -> dict[str, tuple[JSONObject, Place]]:
    """Steps by their ids, of an object or of a list."""
    found = compiling.found
    pairs: Iterable[tuple[str | None, JSONValue, Place]]
    pairs = (
        ((None, step, (*place, index)) for index, step in enumerate(value))
        if isinstance(value, list)
        else ((key, step, (*place, key)) for key, step in value.items())
    )
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
    if template is not None:
        given = _expanded(compiling, given, template, place)
    config = given.get("config", {})
    kind = given.get("type")
    if kind is None:
        kind = (
            "loop"
            if "loop" in given or "loopOver" in given or "loopCondition" in given
            else "branch"
            if "branches" in given or "elseChildren" in given
            else None
        )
    if kind is None and "children" in given:
        kind = "group"
    if kind is None:
        compiling.found.error(place, "'type' is missing: it says what the step does.", MISSING_FIELD)
    return Step(name, place, given, OLDER_NAMES.get(kind or "", kind or ""), config, needs)


def _expanded(compiling: Compiling, given: JSONObject, name: str, place: Place) -> JSONObject:
    """A step made from an action template: the template's type and config, the step's inputs over the template's defaults."""
    template = compiling.templates.get(name)
    if template is None:
        compiling.found.error((*place, "actionTemplateId"), f"There is no action template '{name}'.{meant(name, compiling.templates)}", UNKNOWN_KIND)
        return {**given, "type": given.get("type", "group"), "children": {}}
    parameters = [part for part in template.get("parameters", []) if isinstance(part, dict) and isinstance(part.get("name"), str)]
    inputs = {part["name"]: part["default"] for part in parameters if "default" in part} | given.get("inputs", {})
    for part in parameters:
        if part.get("required") and part["name"] not in inputs:
            compiling.found.error((*place, "inputs"), f"'{part['name']}' is missing: the action template '{name}' needs it.", MISSING_FIELD)
    return {
        **given,
        "type": template.get("type", given.get("type")),
        "config": {**template.get("config", {}), **given.get("config", {})},
        "inputs": inputs,
        "outputs": {**template.get("outputs", {}), **given.get("outputs", {})},
    }


def branch_of(compiling: Compiling, step: Step) -> Branch:
    """The states of one step."""
    loops = "loop" in step.given or "loopOver" in step.given or "loopCondition" in step.given
    name = "loop" if loops else step.type
    lower = compiling.structures.get(name, _task)
    states = [lower(compiling, step)]
    if goes_on(compiling, step):
        states.append(State(name=after(step), kind="Pass", work=PassWork(), language="JSONata"))
    return Branch(start_at=step.id, states={state.name: state for state in states})


def after(step: Step) -> str:
    """The state where a step goes on that failed."""
    return f"{step.id} (failed)"


def goes_on(compiling: Compiling, step: Step) -> bool:
    """Whether the workflow goes on when the step has failed."""
    wanted = step.given.get("onError", "abort")
    if wanted not in ("abort", "continue", "retry"):
        compiling.found.error(step.at("onError"), f"'onError' must be abort, continue or retry; {shown(wanted)} stands there.", INVALID_VALUE)
    return wanted == "continue" or bool(step.given.get("continueOnFail"))


def state_of(
    compiling: Compiling,
    step: Step,
    kind: Kind,
    work: Work,
    *,
    arguments: Template | None = None,
    shape: Template | None = None,
    labelled: bool = True,
) -> State:
    """The state of a step: its condition, its retries, what it assigns."""
    given = step.given
    when: Template | None = Constant(value=False) if given.get("disabled") else None
    if when is None and "when" in given:
        when = compiling.condition(given["when"], step.at("when"))
    catchers = (Catcher(error_equals=EVERYTHING, next=after(step), output=Constant(None), assign=Failed(step.id)),) if goes_on(compiling, step) else ()
    return State(
        name=step.id,
        kind=kind,
        work=work,
        language="JSONata",
        arguments=arguments,
        assign=_kept(compiling, step, shape),
        retriers=_retriers(compiling, step),
        catchers=catchers,
        when=when,
        label=step.label if labelled else None,
    )


def _kept(compiling: Compiling, step: Step, shape: Template | None) -> Kept:
    paths: dict[str, Path] = {}
    templates: dict[str, Template] = {}
    for member in ("outputs", "output"):
        for name, source in step.given.get(member, {}).items():
            place = step.at(member, name)
            if "." in name:
                compiling.found.error(place, f"The name of a variable has no dots: '{name}'.", INVALID_VALUE)
            if not isinstance(source, str) or has_braces(source):
                templates[name] = compiling.template(source, place)
            elif (path := read_path(source)) is None:
                compiling.found.error(place, f"{shown(source)} is no path such as body.items[0].id.", INVALID_VALUE)
            else:
                paths[name] = path
    return Kept(step.id, paths, templates, shape)


def _retriers(compiling: Compiling, step: Step) -> tuple[Retrier, ...]:
    given = step.given
    retry = read_object(compiling.found, given["retry"], step.at("retry"), RETRY) if "retry" in given else {}
    retries = retry.get("maxAttempts", 3 if "retry" in given or given.get("onError") == "retry" else 1) - 1
    if "retryCount" in given:
        retries = given["retryCount"]
    if retries < 0:
        place = step.at("retryCount") if "retryCount" in given else step.at("retry", "maxAttempts")
        compiling.found.error(place, "The number of attempts must be 1 or more, that of retries 0 or more.", INVALID_VALUE)
    wait = compiling.milliseconds(retry.get("interval", given.get("retryDelay", 1000)), step.at("retry", "interval"), unit="ms")
    most = compiling.milliseconds(retry["maxInterval"], step.at("retry", "maxInterval"), unit="ms") if "maxInterval" in retry else None
    backoff = retry.get("backoff", "exponential" if "backoffRate" in retry else "fixed")
    if backoff not in ("fixed", "linear", "exponential"):
        compiling.found.error(step.at("retry", "backoff"), f"'backoff' must be fixed, linear or exponential; {shown(backoff)} stands there.", INVALID_VALUE)
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


def inputs_of(compiling: Compiling, step: Step) -> tuple[JSONObject, Template]:
    """What a step is given, as written and compiled: a text without braces is that text."""
    given = {**step.given.get("inputs", {}), **step.given.get("input", {})}
    return given, compiling.template(given, step.at("input" if "input" in step.given else "inputs"))


def _mappers(compiling: Compiling, step: Step) -> tuple[Mapper, ...]:
    made = []
    for index, value in enumerate(step.given.get("dataMappers", ())):
        place = (*step.at("dataMappers"), index)
        mapper = read_object(compiling.found, value, place, MAPPER)
        missing = [name for name in ("sourceStep", "sourcePath", "targetParam") if name not in mapper]
        if missing:
            compiling.found.error(place, f"'{missing[0]}' is missing.", MISSING_FIELD)
            continue
        path, target, transform = read_path(mapper["sourcePath"]), read_path(mapper["targetParam"]), mapper.get("transform")
        if path is None or target is None:
            compiling.found.error(place, "'sourcePath' and 'targetParam' are paths such as output.body.token.", INVALID_VALUE)
            continue
        if transform is not None and transform not in TRANSFORMS:
            compiling.found.error((*place, "transform"), f"There is no transform {shown(transform)}.{meant(transform, TRANSFORMS)}", INVALID_VALUE)
            continue
        made.append(Mapper(mapper["sourceStep"], path if path[0] == "output" else ("output", *path), tuple(map(str, target)), transform))
    return tuple(made)


def called_of(compiling: Compiling, step: Step, config: JSONObject, *, whole: bool = False) -> Called:
    """What a task is called with."""
    _, inputs = inputs_of(compiling, step)
    return Called(compiling.template(config, step.at("config")), inputs, _mappers(compiling, step), whole)


def _task(compiling: Compiling, step: Step) -> State:
    """A kind that a handler carries out."""
    info = compiling.kinds.get(step.type)
    if info is None:
        if step.type:
            compiling.found.error(step.at("type"), f"There is no kind of step '{step.type}'.{meant(step.type, compiling.kinds)}", UNKNOWN_KIND)
        return state_of(compiling, step, "Pass", PassWork())
    if info.structural and info.name not in compiling.structures:
        compiling.found.error(step.at("type"), f"The kind '{info.name}' belongs to flows; a workflow has no step of it.", UNKNOWN_KIND)
    config = with_references(compiling.found, step.config, step.at("config"))
    if info.name == "http.request" and "url" not in config and isinstance(config.get("path"), str):
        config = {"url": "{{baseUrl}}" + config["path"], **{name: value for name, value in config.items() if name != "path"}}
    if config or "actionTemplateId" not in step.given:
        _check(compiling, step, info, config)
    timeout = step.given.get("timeout")
    work = TaskWork(
        resource=f"{RESOURCE}{info.name}",
        timeout_milliseconds=None if timeout is None else compiling.milliseconds(timeout, step.at("timeout"), unit="s"),
        secrets=places_in(config),
    )
    return state_of(compiling, step, "Task", work, arguments=called_of(compiling, step, config, whole=info.name in SEES_ALL))


def _check(compiling: Compiling, step: Step, info: KindInfo, config: JSONObject) -> None:
    """What a kind says of its parameters; those that come as inputs are not known yet."""
    given = config or {**step.given.get("inputs", {}), **step.given.get("input", {})}
    targets = [mapper.get("targetParam") for mapper in step.given.get("dataMappers", ()) if isinstance(mapper, dict)]
    mapped = {name.partition(".")[0]: _MAPPED for name in targets if isinstance(name, str)}
    for finding in parameter_findings(info.parameters, {**mapped, **given}):
        place = (*step.at("config"), *(part for part in finding.pointer.split("/") if part))
        said = f"'{place[-1]}' {finding.message}." if finding.pointer else f"The parameter {finding.message}."
        if finding.severe:
            compiling.found.error(place, said, INVALID_PARAMETER)
        else:
            compiling.found.warning(place, said, INVALID_PARAMETER)
