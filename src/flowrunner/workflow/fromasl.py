"""A state machine as a workflow: for machines that keep variables and outputs as workflows do (toasl.py says how).

Each state is read as the step it could be; then the workflow is made a state machine again, and where that is not the given one, it is refused. So a
workflow that comes out does exactly what the machine does. Expressions are taken from the comments that stand before their JSONata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.jsonata.template import expression_text, is_expression
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings, Locate, Place
from flowrunner.reading.machines import differences
from flowrunner.workflow.aslsteps import CANNOT_CONVERT
from flowrunner.workflow.parse import parse_workflow
from flowrunner.workflow.tasks import RESOURCE
from flowrunner.workflow.toasl import GIVEN, asl_of

_BEFORE, _AFTER = (part.replace("{{", "{").replace("}}", "}") for part in GIVEN.split("{0}"))
_LEFT = re.compile(r'\{% \$merge\(\[\$nodes\d*, \{("(?:[^"\\]|\\.)*"): \{\'output\': (.*), \'status\': \'(success|skipped)\'\}\}\]\) %\}', re.DOTALL)
_ID = re.compile(r'("(?:[^"\\]|\\.)*"): ')
_SOURCE = re.compile(r"\{% /\* (.*?) \*/ ", re.DOTALL)
_REMEDY = "Only machines become workflows that keep variables and outputs as 'convert' writes them of a workflow."


class _Refused(Exception):
    """A state that is no step."""


def workflow_of(text: str, kinds: Mapping[str, KindInfo], name: str) -> tuple[JSONObject, Findings, Locate]:
    """The workflow of a sound state machine (JSON or YAML) as a JSON value; it counts only when nothing was found."""
    document = read_document(text, "json" if text.lstrip().startswith("{") else "yaml")
    found = Findings()
    machine: JSONObject = document.value
    workflow: JSONObject = {}
    try:
        workflow = _Reader(found, machine).workflow(name)
        _verify(found, kinds, machine, workflow)
    except _Refused:
        pass
    return workflow, found, document.locate


def _verify(found: Findings, kinds: Mapping[str, KindInfo], machine: JSONObject, workflow: JSONObject) -> None:
    """Say where the workflow would not do what the machine does."""
    written = dumps(workflow)
    parsed = parse_workflow(written, kinds)
    for one in parsed.diagnostics:
        if one.severity == "ERROR":
            _refuse(found, ("States",), f"the workflow would not be sound: {one.message} ({one.pointer})")
    if parsed.program is None:
        return
    remade, again, _ = asl_of(written, kinds)
    for one in again.diagnostics():
        if one.severity == "ERROR":
            _refuse(found, ("States",), f"{one.message} ({one.pointer})")
    for place in [] if again.failed else differences({"QueryLanguage": "JSONPath", **machine}, remade):
        _refuse(found, place, "no step of a workflow does this")


class _Reader:
    def __init__(self, found: Findings, machine: JSONObject) -> None:
        self._found = found
        self._machine = machine
        self._steps: dict[str, JSONObject] = {}

    def workflow(self, name: str) -> JSONObject:
        """The workflow that the machine could be."""
        machine, start = self._machine, self._machine["StartAt"]
        states: Mapping[str, JSONObject] = machine["States"]
        variables = self._variables(states[start])
        _, end = self._chain(states, states[start].get("Next"), [], ())
        order = _ids(str(_object(end.get("Output")).get("outputs")))
        comment = {"description": machine["Comment"]} if machine.get("Comment") else {}
        timeout = {"timeout": machine["TimeoutSeconds"]} if "TimeoutSeconds" in machine else {}
        steps = {step: self._steps[step] for step in [*order, *self._steps] if step in self._steps}
        return {"name": name, **comment, **timeout, **({"variables": variables} if variables else {}), "steps": steps}

    def _variables(self, state: JSONObject) -> JSONObject:
        """What the workflow's variables begin with, as the first state says."""
        given = _object(state.get("Assign")).get("variables") if state["Type"] == "Pass" else None
        text = expression_text(given) if isinstance(given, str) and is_expression(given) else ""
        inner = text.removeprefix(_BEFORE).removesuffix(_AFTER)
        if text != f"{_BEFORE}{inner}{_AFTER}":
            raise self._refused(("StartAt",), "a workflow takes {'variables'} and gives {'variables', 'outputs'}, and its data is in its variables", _REMEDY)
        variables: JSONObject = self._read(inner, ("States", self._machine["StartAt"], "Assign"))
        return variables

    def _chain(self, states: Mapping[str, JSONObject], name: str | None, before: list[str], place: Place) -> tuple[list[str], JSONObject]:
        """Read the steps from a state on, which wait for those of `before`; gives the last of them, and the state that ends the chain."""
        seen: set[str] = set()
        while name is not None and states[name]["Type"] != "Succeed":
            here: Place = (*place, "States", name)
            if name in seen:
                raise self._refused(here, "no edge of a workflow leads back", "Use a loop.")
            seen.add(name)
            state = states[name]
            if state["Type"] == "Parallel":
                ends: list[str] = []
                for index, branch in enumerate(state["Branches"]):
                    below: Place = (*here, "Branches", index)
                    ends += self._chain(branch["States"], branch["States"][branch["StartAt"]].get("Next"), before, below)[0]
                before = ends
            else:
                when: JSONObject = {}
                if state["Type"] == "Choice":
                    when = {"when": self._source(state["Choices"][0].get("Condition"), (*here, "Choices", 0, "Condition"))}
                    name = state["Choices"][0]["Next"]
                    here, state = (*place, "States", name), states[name]
                before = [self._step(state, when, before, here)]
            name = state.get("Next")
        return before, {} if name is None else states[name]

    def _step(self, state: JSONObject, when: JSONObject, before: list[str], place: Place) -> str:
        """Read one step; gives its id."""
        left = next((found for value in _object(state.get("Assign")).values() if (found := _LEFT.fullmatch(str(value))) is not None), None)
        if left is None:
            raise self._refused(place, "a step leaves its output behind in the variable 'nodes'", _REMEDY)
        step_id = str(self._read(left[1], place))
        if step_id in self._steps:
            raise self._refused(place, f"there is a step '{step_id}' already")
        step: JSONObject = {"name": state["Comment"]} if state.get("Comment") else {}
        readers = {"Task": self._task, "Wait": self._wait, "Pass": self._pass}
        if state["Type"] not in readers:
            raise self._refused(place, f"no step is a {state['Type']} state", _REMEDY)
        step |= readers[state["Type"]](state, left, place)
        needs = step.pop("dependsOn", before)
        variables = next((value for name, value in state["Assign"].items() if name.startswith("variables")), None)
        if variables is not None:
            step["output"] = self._read(self._source(variables, (*place, "Assign")), (*place, "Assign"))
        self._steps[step_id] = {**step, **when, **({"dependsOn": needs} if needs else {})}
        return step_id

    def _task(self, state: JSONObject, _left: re.Match[str], place: Place) -> JSONObject:
        given = state.get("Arguments")
        if not state["Resource"].startswith(RESOURCE) or not isinstance(given, dict):
            raise self._refused((*place, "Resource"), f"no kind of step calls {state['Resource']}", f"Steps are tasks of the resources {RESOURCE}KIND.")
        at: Place = (*place, "Arguments")
        step: JSONObject = {"type": state["Resource"].removeprefix(RESOURCE)}
        if given.get("params") and given.get("params") != given.get("input"):
            step["config"] = self._plain(given["params"], (*at, "params"))
        if given.get("input"):
            step["input"] = self._plain(given["input"], (*at, "input"))
        if "TimeoutSeconds" in state:
            step["timeout"] = state["TimeoutSeconds"]
        if state.get("Retry"):
            step["retry"] = _retry(state["Retry"][-1])
        return {**step, "onError": "continue"} if state.get("Catch") else step

    def _wait(self, state: JSONObject, left: re.Match[str], place: Place) -> JSONObject:
        try:
            output = json.loads(left[2])
            if "until" in output:
                return {"type": "wait", "config": {"until_time": output["until"]}}
            seconds = state.get("Seconds", 0)
            tells = output["waited"] == 1000 * seconds
        except (ValueError, KeyError, TypeError):
            tells = False
        if not tells:
            raise self._refused((*place, "Assign"), "a wait says how many milliseconds it has waited", _REMEDY)
        return {"type": "delay", "config": {"duration": seconds}}

    def _pass(self, _state: JSONObject, left: re.Match[str], _place: Place) -> JSONObject:
        return {"type": "merge", "disabled": True} if left[3] == "skipped" else {"type": "merge", "dependsOn": _ids(left[2])}

    def _plain(self, value: JSONValue, place: Place) -> JSONValue:
        """A value of a template with the braces it was made of."""
        if isinstance(value, dict):
            return {name: self._plain(part, (*place, name)) for name, part in value.items()}
        if isinstance(value, list):
            return [self._plain(part, (*place, index)) for index, part in enumerate(value)]
        if not isinstance(value, str) or not is_expression(value):
            return value
        try:
            text: JSONValue = json.loads(expression_text(value))
        except ValueError:
            return self._source(value, place)
        return text

    def _source(self, value: JSONValue, place: Place) -> str:
        """The source in the comment of an expression."""
        found = _SOURCE.match(value) if isinstance(value, str) else None
        if found is None:
            raise self._refused(
                place, "an expression in JSONata stands where a workflow has {{ }}", "Let the comment before it say it so: {% /* {{x}} */ $variables.x %}."
            )
        return found[1]

    def _read(self, text: str, place: Place) -> JSONValue:
        """JSON that stands in an expression."""
        try:
            value: JSONValue = json.loads(text)
        except ValueError:
            raise self._refused(place, "there is no JSON where a workflow's machine has some", _REMEDY) from None
        return value

    def _refused(self, place: Place, why: str, remedy: str = "") -> _Refused:
        _refuse(self._found, place, why, remedy)
        return _Refused()


def _object(value: JSONValue) -> JSONObject:
    """An object; empty for a value that is none, such as an expression that gives one."""
    return value if isinstance(value, dict) else {}


def _ids(text: str) -> list[str]:
    """The ids in an object of outputs."""
    try:
        return [str(json.loads(found)) for found in _ID.findall(text)]
    except ValueError:
        return []


def _retry(rule: JSONObject) -> JSONObject:
    rate = rule.get("BackoffRate", 2)
    made: JSONObject = {"maxAttempts": rule.get("MaxAttempts", 3) + 1, "interval": f"{rule.get('IntervalSeconds', 1)}s"}
    made |= {} if rate == 1 else {"backoff": "exponential"} if rate == 2 else {"backoffRate": rate}
    if "MaxDelaySeconds" in rule:
        made["maxInterval"] = f"{rule['MaxDelaySeconds']}s"
    return {**made, "jitter": True} if rule.get("JitterStrategy") == "FULL" else made


def _refuse(found: Findings, place: Place, why: str, remedy: str = "") -> None:
    found.error(place, f"This has no counterpart in a workflow: {why}. {remedy}".rstrip(), CANNOT_CONVERT)
