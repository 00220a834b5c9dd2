"""What the states of a workflow compute. Each class is a `Template` of ``core.program``.

Variables with a dot in their names are the compiler's own: ``nodes.ID`` is ``{"output", "status"}`` of step ID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowrunner.core.dataflow import UNSET
from flowrunner.core.program import Template
from flowrunner.core.variables import ENVIRONMENT, ENVIRONMENT_SECRETS, given_variables
from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue, Payload
from flowrunner.lang.braces.nodes import STEP_VARIABLE
from flowrunner.lang.environment import Environment
from flowrunner.workflow.inputs import Given
from flowrunner.workflow.paths import ABSENT, Path, look

NODES = STEP_VARIABLE
MOST_RESULT_BYTES = 3_000_000  # of what a run gives, as JSON: below what a step may give, in either profile of limits


def states_of(environment: Environment) -> JSONObject:
    """``$states``."""
    states: JSONObject = environment.states
    return states


def result_of(states: JSONObject) -> JSONValue:
    """What a step has returned: a task's ``output``, any other state's result, null where it has none."""
    result = states.get("result")
    return result["output"] if isinstance(result, dict) and result.keys() == {"output", "action"} else result


def author_variables(environment: Environment) -> JSONObject:
    """The variables that authors know."""
    return {name: value for name, value in environment.variables.items() if "." not in name}


def execution_of(environment: Environment) -> JSONObject:
    """What scripts know of their execution; its id is the run's."""
    context: JSONObject = states_of(environment)["context"]
    execution, machine = context["Execution"], context["StateMachine"]
    name = machine["Name"].rpartition("/")[2]  # FORMAT/ID
    return {"id": environment.execution, "flow_id": name, "name": execution["Name"], "started_at": execution["StartTime"]}


@dataclass(frozen=True, slots=True)
class Called:
    """What a step's task is called with: its config and inputs with all expressions filled in, data mappers last.

    Inputs are seen by the expressions of the config as variables of the step.
    """

    config: Template
    given: Given
    scripts: Mapping[str, JSONValue] = field(default_factory=dict)  # parameters that are taken as they are written
    whole: bool = False  # the task sees all variables: scripts
    language: str = "workflow"
    secrets: bool = False  # the task reads secrets, so it is told which the run's environment has
    asserted: Template | None = None  # what a test case asserts of the answer's status, and how often it is asked for again

    def evaluate(self, environment: Environment) -> JSONValue:
        """The parameters of the task."""
        known = environment.variables
        params, given = self.given.filled(self.config, environment)
        called: JSONObject = {"params": {**params, **self.scripts}, "input": given}
        if self.whole:
            called["variables"] = author_variables(environment)
            called["results"] = {name.removeprefix(NODES): kept["output"] for name, kept in known.items() if name.startswith(NODES) and isinstance(kept, dict)}
        if self.asserted is not None:
            called["asserted"] = self.asserted.evaluate(environment)
        called["execution"] = execution_of(environment)
        called["language"] = self.language
        if (self.secrets or self.whole) and known.get(ENVIRONMENT_SECRETS):
            called["secrets"] = known[ENVIRONMENT_SECRETS]
        return called


@dataclass(frozen=True, slots=True)
class Inner:
    """The ids of the steps within a step, and those of each of its branches."""

    ids: tuple[str, ...]
    ways: tuple[tuple[str, ...], ...] = ()

    def never(self, states: JSONObject) -> tuple[str, ...]:
        """Those that do not run, by name: all of a step that is skipped, of a branch those of the ways that are not taken."""
        if states.get("skipped"):
            return tuple(sorted(self.ids))
        taken = taken_of(states.get("result"))
        return tuple(sorted(step for number, way in enumerate(self.ways) if number != taken for step in way))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a branch gives that was taken: its number, and the outputs of its steps."""

    number: int
    outputs: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        """``{"branch", "output"}``."""
        return {"branch": self.number, "output": self.outputs.evaluate(environment)}


def taken_of(result: JSONValue) -> JSONValue:
    """The number of the branch that was taken, None if none was."""
    return result["branch"] if isinstance(result, dict) and result.keys() == {"branch", "output"} else None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a step of the kind branch gives: the outputs of the branch that was taken, ``selectedBranch`` null if none was."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The object."""
        result = states_of(environment)["result"]
        return {"selectedBranch": None} if taken_of(result) is None else result["output"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step assigns when it has ended: its output for others, and the variables that its ``output`` names; those of `gone` it deletes.

    A path is looked for in the output, then in a response's body: its own top-level keys are reachable without their way.
    """

    step: str
    paths: Mapping[str, Path]
    templates: Mapping[str, Template]
    shape: Template | None = None
    gone: tuple[str, ...] = ()
    inner: Inner | None = None

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variables by name."""
        states = states_of(environment)
        never = () if self.inner is None else self.inner.never(states)
        left_out: JSONObject = {f"{NODES}{step}": {"output": None, "status": "skipped"} for step in never}
        if states.get("skipped"):
            return {**left_out, f"{NODES}{self.step}": {"output": None, "status": "skipped"}}
        output = result_of(states) if self.shape is None else self.shape.evaluate(environment)
        kept: JSONObject = {**left_out, f"{NODES}{self.step}": {"output": output, "status": "success"}}
        for name, path in self.paths.items():
            value = found_in(output, path)
            if value is not ABSENT:
                kept[name] = value
        if self.templates:
            environment.states = {**states, "result": output}
            kept |= {name: template.evaluate(environment) for name, template in self.templates.items()}
        if self.gone:
            kept = {name: value for name, value in kept.items() if name not in self.gone} | {UNSET: list(self.gone)}
        return kept


@dataclass(frozen=True, slots=True)
class Named:
    """The output of a step that is made from an action template, with the outputs that the template names; one that is no object stands in ``result``."""

    paths: Mapping[str, Path]
    templates: Mapping[str, Template]
    shape: Template | None = None

    def evaluate(self, environment: Environment) -> JSONValue:
        """The output."""
        states = states_of(environment)
        output = result_of(states) if self.shape is None else self.shape.evaluate(environment)
        named = {name: value for name, path in self.paths.items() if (value := found_in(output, path)) is not ABSENT}
        if self.templates:
            environment.states = {**states, "result": output}
            named |= {name: template.evaluate(environment) for name, template in self.templates.items()}
            environment.states = states
        if not named:
            return output
        return {**(output if isinstance(output, dict) else {"result": output}), **named}


def found_in(output: JSONValue, path: Path) -> JSONValue:
    """The value at a path of an output, of the response's body, or of the body."""
    value = look(output, path)
    for way in (("response", "body"), ("body",), ("response",)):
        if value is not ABSENT:
            break
        value = look(output, (*way, *path))
    return value


@dataclass(frozen=True, slots=True)
class Failed:
    """What a step assigns that failed and lets the workflow go on."""

    step: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variable of the step."""
        error = states_of(environment).get("errorOutput") or {}
        told = {"error": error.get("Error"), "cause": error.get("Cause")}
        return {f"{NODES}{self.step}": {"output": None, "status": "failed", "error": told}}


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Whether a step that has ended was neither skipped nor failed."""

    step: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """True or false."""
        kept = environment.variables.get(f"{NODES}{self.step}")
        return not isinstance(kept, dict) or kept.get("status") not in ("skipped", "failed")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always this value."""

    value: JSONValue

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value."""
        del environment
        return self.value


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of some steps by their ids, as far as they have ended."""

    steps: tuple[str, ...]
    more: tuple[tuple[str, JSONValue], ...] = ()

    def evaluate(self, environment: Environment) -> JSONValue:
        """The object."""
        known = environment.variables
        kept = ((step, known.get(f"{NODES}{step}")) for step in self.steps)
        return {**dict(self.more), **{step: value["output"] for step, value in kept if isinstance(value, dict)}}


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run gives: its variables and the outputs of its steps.

    Together they have at most `MOST_RESULT_BYTES` as JSON: what is beyond is null here and named in ``omitted``, and stands in the run's log.
    """

    steps: tuple[str, ...]

    def evaluate(self, environment: Environment) -> JSONValue:
        """The output of the execution."""
        outputs: JSONObject = Outputs(self.steps).evaluate(environment)
        return bounded({"variables": author_variables(environment), "outputs": outputs})


def bounded(result: dict[str, JSONObject]) -> JSONObject:
    """The members of these objects as far as there is room for them, in order; null and a name in ``omitted`` for the others."""
    left = MOST_RESULT_BYTES
    made: dict[str, JSONObject] = {}
    omitted: list[JSONValue] = []
    for part, members in result.items():
        made[part] = {}
        for name, value in members.items():
            size = Payload(value=value).size()
            if size <= left:
                left -= size
                made[part][name] = value
            else:
                made[part][name] = None
                omitted.append(f"{part}.{name}")
    return {**made, "omitted": omitted} if omitted else {**made}


@dataclass(frozen=True, slots=True)
class Returned:
    """What a step has returned, as the output of its branch."""

    shape: Template | None = None

    def evaluate(self, environment: Environment) -> JSONValue:
        """The value."""
        return result_of(states_of(environment)) if self.shape is None else self.shape.evaluate(environment)


@dataclass(frozen=True, slots=True)
class LoopEnded:
    """What a loop gives."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """The counts, the reason for its end, and what each iteration gave."""
        result = states_of(environment)["result"]
        return {
            "totalIterations": result["total"],
            "completedIterations": result["completed"],
            "failedIterations": result["failed"],
            "exitReason": result["exitReason"],
            "results": result["iterations"],
        }


@dataclass(frozen=True, slots=True)
class Started:
    """The parameters of StartExecution for another definition of the account; its id stands in the member `name` of `config`.

    The other one gets the variables that are given to it, and the environment of this run.
    """

    config: Template
    name: str
    form: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """``StateMachineArn`` and ``Input``."""
        params: JSONObject = self.config.evaluate(environment)
        other = params.get(self.name)
        if not isinstance(other, str) or not other:
            raise ExpressionError(f"'{self.name}' must be a text.")
        context = states_of(environment)["context"]
        machine = str(context["StateMachine"]["Id"]).partition(":stateMachine:")[0]
        given: JSONObject = {"variables": given_variables(params.get("variables"))}
        below = context["Execution"]["Input"]
        if isinstance(below, dict) and ENVIRONMENT in below:
            given[ENVIRONMENT] = below[ENVIRONMENT]
        return {"StateMachineArn": f"{machine}:stateMachine:{self.form}/{other}", "Input": given}


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """What the other workflow gave."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """Its output; without waiting for it, its run."""
        result = states_of(environment).get("result")
        if not isinstance(result, dict):
            return None
        return result["Output"] if "Output" in result else {"runId": result.get("ExecutionId")}
