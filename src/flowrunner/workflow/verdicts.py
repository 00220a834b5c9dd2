"""How a test case came out: passed, failed, error or skipped."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.faults import TASK_FAILED, read_handed_up
from flowrunner.core.program import Template
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds.checks import ASSERTION_FAILED
from flowrunner.lang.environment import Environment
from flowrunner.lang.moment import parse_timestamp
from flowrunner.workflow.checks import BODY, LAST, OR_RUN
from flowrunner.workflow.templates import NODES, Outputs, author_variables, bounded, result_of, states_of

STATUSES = ("passed", "failed", "error", "skipped")
FAILURE, ASSERTIONS = "test.failure", "test.assertions"  # variables of the compiler's own
# What was tested is not as it should be; every other error means that it could not be found out.
FAILED_BY = frozenset({ASSERTION_FAILED, "FlowRunner.HttpStatus", "FlowRunner.CommandFailed"})
MOST_REPORT_CHARACTERS = 200_000  # of a result in a cause
CHILD_FAILED = TASK_FAILED  # of a nested execution: the cause is what it failed with


# --- in a workflow that runs a test case


@dataclass(frozen=True, slots=True)
class Caught:
    """The error of a state as the output of what catches it."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """``{"Error", "Cause"}``."""
        return states_of(environment).get("errorOutput") or {}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step fails whose test case did not pass: `part` is ``Error`` or ``Cause``. What kept the test case from running at all stays as it is."""

    test: Template
    part: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """A text, or null."""
        told: JSONObject = states_of(environment)["input"]
        child = _child(told.get("Cause")) if told.get("Error") == CHILD_FAILED else {}
        if "Error" not in child:
            return told.get(self.part)
        if self.part == "Error":
            return ASSERTION_FAILED
        config: JSONObject = self.test.evaluate(environment)
        status = "failed" if child["Error"] == ASSERTION_FAILED else "error"
        said = str(child.get("Cause") or child["Error"]).partition("\n")[0]
        return f"The test case '{config.get('testId')}' ended as {status}: {said}"


@dataclass(frozen=True, slots=True)
class Only:
    """What the only branch of a graph gave."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """Its output."""
        result = states_of(environment)["result"]
        return result[0]


# --- within a test case


@dataclass(frozen=True, slots=True)
class AllVariables:
    """A config with one member, and the variables of the test: those that it has only from its environment stand below a workflow's own (row 37)."""

    name: str
    value: JSONValue
    own: frozenset[str]

    def evaluate(self, environment: Environment) -> JSONValue:
        """The config."""
        given = states_of(environment)["context"]["Execution"]["Input"]
        levels = given if isinstance(given, dict) else {}
        below, above = levels.get("environment") or {}, levels.get("variables") or {}
        variables = author_variables(environment)
        inherited = {name for name in below if name not in self.own and name not in above and variables.get(name) == below[name]}
        return {self.name: self.value, "variables": {name: value for name, value in variables.items() if name not in inherited}}


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a stored workflow leaves behind that has ended, as if it were the test's own: its variables, and its outputs by the ids of its steps.

    `LAST` is the output of its last step, `BODY` the body when that is an answer; paths look into the run's own output where these have no such
    member. `kept` is what the `step` assigns that ran it.
    """

    kept: Template
    step: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """The variables by name."""
        kept: JSONObject = self.kept.evaluate(environment)
        child = kept.get(f"{NODES}{self.step}", {}).get("output")
        if not isinstance(child, dict):
            return kept
        variables: JSONObject = child.get("variables") or {}
        outputs: JSONObject = child.get("outputs") or {}
        omitted: list[JSONValue] = child.get("omitted") or []
        adopted = {name: value for name, value in variables.items() if "." not in name and not name.startswith("$") and f"variables.{name}" not in omitted}
        adopted |= {f"{NODES}{step}": {"output": value} for step, value in outputs.items()}
        last = outputs[list(outputs)[-1]] if outputs else None
        answer = last.get("response") if isinstance(last, dict) else None
        body = answer["body"] if isinstance(answer, dict) and "statusCode" in answer and "body" in answer else last
        for name, value in ((LAST, last), (BODY, body)):
            adopted[f"{NODES}{name}"] = {"output": value}
            adopted[f"{NODES}{name}{OR_RUN}"] = {"output": {**child, **value} if isinstance(value, dict) else child if value is None else value}
        return {**adopted, **kept}


@dataclass(frozen=True, slots=True)
class Listed:
    """An object with one member: the items of several lists."""

    name: str
    lists: tuple[Template, ...]

    def evaluate(self, environment: Environment) -> JSONValue:
        """The object."""
        return {self.name: [item for part in self.lists for item in part.evaluate(environment)]}


@dataclass(frozen=True, slots=True)
class AnyRan:
    """Whether one of these steps was not skipped."""

    steps: tuple[str, ...]

    def evaluate(self, environment: Environment) -> JSONValue:
        """True or false."""
        return not all_skipped(environment, self.steps)


def all_skipped(environment: Environment, steps: tuple[str, ...]) -> bool:
    """Whether there are such steps, and all of them were skipped."""
    kept = [environment.variables.get(f"{NODES}{step}") for step in steps]
    return bool(kept) and all(isinstance(one, dict) and one.get("status") == "skipped" for one in kept)


@dataclass(frozen=True, slots=True)
class NotFailed:
    """Whether no stage of the test has failed."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """True or false."""
        return FAILURE not in environment.variables


@dataclass(frozen=True, slots=True)
class StageFailed:
    """What a stage assigns that failed; the first failure is the one that counts."""

    stage: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """``test.failure``."""
        if FAILURE in environment.variables:
            return {}
        told = states_of(environment).get("errorOutput") or {}
        return {FAILURE: {"stage": self.stage, "error": told.get("Error"), "cause": told.get("Cause")}}


@dataclass(frozen=True, slots=True)
class AssertionsKept:
    """What the assertions assign that hold."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """``test.assertions``."""
        output = result_of(states_of(environment))
        return {ASSERTIONS: output.get("assertions", []) if isinstance(output, dict) else []}


@dataclass(frozen=True, slots=True)
class Status:
    """The status in the result that a state is entered with."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """One of STATUSES."""
        return states_of(environment)["input"]["status"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Error or cause of the execution of a test case that did not pass, by its result; the cause has the result behind its first line."""

    part: str

    def evaluate(self, environment: Environment) -> JSONValue:
        """A text."""
        result: JSONObject = states_of(environment)["input"]
        error = result["error"]
        if self.part == "Error":
            if result["status"] == "failed":
                return ASSERTION_FAILED
            return CHILD_FAILED if error["error"] in FAILED_BY or not error["error"] else error["error"]
        report = {name: value for name, value in result.items() if name not in ("variables", "outputs", "omitted")}
        text = dumps(report)
        if len(text) > MOST_REPORT_CHARACTERS:
            text = dumps({**report, "assertions": []})
        return f"{error['cause'] or error['error']}\n{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The result of a test case. `steps` are those of the test itself."""

    testcase: JSONValue
    name: JSONValue
    steps: tuple[str, ...]
    skipped: bool = False

    def evaluate(self, environment: Environment) -> JSONValue:
        """``{testId, name, status, error, assertions, variables, outputs, duration}``; `duration` in milliseconds."""
        known = environment.variables
        failure = known.get(FAILURE)
        error = _told(failure) if isinstance(failure, dict) else None
        began = parse_timestamp(states_of(environment)["context"]["Execution"]["StartTime"])
        outputs: JSONObject = Outputs(self.steps).evaluate(environment)
        return {
            "testId": self.testcase,
            "name": self.name,
            "status": self._status(environment, error),
            "error": None if error is None else {name: error[name] for name in ("stage", "error", "cause")},
            "assertions": self._assertions(environment, error),
            **bounded({"variables": author_variables(environment), "outputs": outputs}),
            "duration": environment.now - began,
        }

    def _status(self, environment: Environment, error: JSONObject | None) -> str:
        if error is not None:
            return "failed" if error["error"] in FAILED_BY and error["stage"] in ("test", "assertions") else "error"
        return "skipped" if self.skipped or all_skipped(environment, self.steps) else "passed"

    def _assertions(self, environment: Environment, error: JSONObject | None) -> JSONValue:
        """Those that were evaluated, each with how it came out."""
        if error is not None and error["assertions"]:
            return error["assertions"]
        known = environment.variables
        if ASSERTIONS in known:
            return known[ASSERTIONS]
        last = known.get(f"{NODES}{self.steps[-1]}") if self.steps else None
        output = last.get("output") if isinstance(last, dict) else None
        own = output.get("assertions") if isinstance(output, dict) else None
        return own if isinstance(own, list) else []


def _told(failure: JSONObject) -> JSONObject:
    """A failure with the cause that people read, and the assertions that stand behind its first line."""
    error, cause = failure.get("error"), failure.get("cause")
    if error == CHILD_FAILED:
        child = _child(cause)
        error, cause = child.get("Error") or error, child.get("Cause") or cause
    first, _, rest = cause.partition("\n") if isinstance(cause, str) else (cause, "", "")
    report = _object(rest) if error == ASSERTION_FAILED and rest else {}
    return {**failure, "error": error, "cause": first if report else cause, "assertions": report.get("assertions")}


def _child(cause: JSONValue) -> JSONObject:
    """``{"Error", "Cause"}`` of a nested execution; empty for what kept it from running. Earlier releases handed its description up, as JSON."""
    if described := _object(cause):
        return described
    told = read_handed_up(cause) if isinstance(cause, str) else None
    return {} if told is None else {"Error": told[0], "Cause": told[1]}


def _object(text: JSONValue) -> JSONObject:
    try:
        value = loads(text) if isinstance(text, str) else None
    except InvalidDocument:
        return {}
    return value if isinstance(value, dict) else {}
