"""One step of a workflow as one state: tasks, waits, merges; what they are called with, how often they are tried again, what they leave behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flowrunner.core.program import Retrier
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.kinds.durations import read_milliseconds
from flowrunner.kinds.info import KindInfo
from flowrunner.lang.braces.template import Places, has_braces, nowhere
from flowrunner.lang.jsonata.writing import as_it_is, literal, marked, member
from flowrunner.reading.findings import Findings, Place
from flowrunner.workflow.compiling import Compiling, Step
from flowrunner.workflow.jsonata import Names, Untranslatable, Writer, expression, part, template
from flowrunner.workflow.paths import read_path
from flowrunner.workflow.scopes import Where, may_fail
from flowrunner.workflow.secrets import with_references
from flowrunner.workflow.steps import retriers_of, sources_of
from flowrunner.workflow.tasks import RESOURCE, SEES_ALL, null_places
from flowrunner.workflow.waiting import UNITS

CANNOT_CONVERT = "CANNOT_CONVERT"
NAME_CHARACTERS = 80  # of a state, in the language
States = dict[str, JSONValue]
_EXECUTION = {
    "flow_id": "{% $states.context.StateMachine.Name %}",
    "name": "{% $states.context.Execution.Name %}",
    "started_at": "{% $states.context.Execution.StartTime %}",
}
_EXECUTION_ID = re.compile(r"\bexecution\b(?!\s*\.\s*(?:flow_id|name|started_at)\b)")
_OUTPUT = "$states.result.output"
WHOLE_SECONDS = "the language counts whole seconds, from 1 on"


def refuse(found: Findings, place: Place, why: str, remedy: str = "") -> None:
    """Say what has no counterpart, why, and what would help."""
    found.error(place, f"This has no counterpart in the Amazon States Language: {why}. {remedy}".rstrip(), CANNOT_CONVERT)


def failing(compiling: Compiling, step: Step, where: Where | None = None) -> bool:
    """Whether something is done about the failure of a step: by itself, or by a loop around it."""
    return step.goes_on or (where is not None and where.failed is not None) or bool(retriers_of(compiling, step))


ERROR = "{'error': $states.errorOutput.Error, 'cause': $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : null}"


def caught(where: Where, step: Step, then: str) -> list[JSONValue]:
    """``Catch`` of a step: the workflow goes on after it, failed or not, or the loop around goes on; empty where it does not."""
    if step.goes_on:
        kept = f"{{{literal(step.id)}: {{'output': null, 'status': 'failed', 'error': {ERROR}}}}}"
        target, assign = then, {where.nodes: marked(f"$merge([${where.nodes}, {kept}])")}
    elif where.failed is not None:
        target, assign = where.failed[0], {where.failed[1]: marked(ERROR)}
    else:
        return []
    return [{"ErrorEquals": [name], "Assign": assign, "Output": {}, "Next": target} for name in ("States.DataLimitExceeded", "States.ALL")]


def _at_path(writer: Writer, source: str, output: str) -> str:
    inner = "$v"
    for step in read_path(source) or ():
        inner = writer.reached(inner, step)
    return f"{writer.need('found')}({output}, function($v) {{ {inner} }})"


class StepWriter:
    """Writes the states of steps that are one state each."""

    def __init__(self, found: Findings, compiling: Compiling) -> None:
        self._found = found
        self._compiling = compiling
        self._kinds: Mapping[str, Callable[[Where, Step], JSONObject]] = {"delay": self._delay, "wait": self._wait, "merge": self._merge}

    def state(self, where: Where, step: Step, then: str) -> JSONObject:
        """The state of a step."""
        named = {"Comment": step.given["name"]} if step.given.get("name") else {}
        own = self._kinds.get(step.type)
        if own is None:
            return {**named, **self._task(where, step, then), "Output": {}, "Next": then}
        if failing(self._compiling, step, where) and (may_fail(step.given) or has_braces(step.config)):
            self._refuse(step.place, "only a Task can be tried again or caught", "Leave out its retries and 'onError'.")
        return {**named, **own(where, step), "Output": {}, "Next": then}

    def left(self, where: Where, step: Step, output: str, status: str, *, never: Iterable[str] = ()) -> JSONObject:
        """What the step assigns: its output for others and, where it has succeeded, the variables that its ``output`` names; `never` are skipped with it."""
        skipped = "".join(f"{literal(name)}: {{'output': null, 'status': 'skipped'}}, " for name in sorted(never))
        kept = f"{{{skipped}{literal(step.id)}: {{'output': {output}, 'status': '{status}'}}}}"
        assigned: JSONObject = {where.nodes: marked(f"$merge([${where.nodes}, {kept}])")}
        if status == "success":
            writer = Writer(where.names(result=f"({output})"))
            if parts := list(self._variables(writer, where, step, output)):
                merged = f"$merge([${where.variables}, {', '.join(text for _, _, text in parts)}])"
                assigned[where.variables] = writer.whole(merged, dumps({name: source for name, source, _ in parts}))
        return assigned

    def _variables(self, writer: Writer, where: Where, step: Step, output: str) -> Iterator[tuple[str, JSONValue, str]]:
        """(name, source, an object of the variable or of nothing as JSONata) for each variable that the step sets."""
        sources = list(sources_of(self._compiling, step))
        for place, name, source in sources:
            if source is None:
                self._refuse(place, f"a variable cannot be deleted there, as '{name}' is", 'Set it to "{{null}}".')
        for _, name, source in sources:  # what expressions give stands over what is at paths
            if isinstance(source, str) and not has_braces(source):
                yield name, source, f"($x := {_at_path(writer, source, output)}; $exists($x) ? {{{literal(name)}: $x}})"
        for place, name, source in sources:
            if source is not None and (not isinstance(source, str) or has_braces(source)):
                try:
                    yield name, source, f"{{{literal(name)}: {part(writer, source, where.previous)}}}"
                except Untranslatable as error:
                    self._refuse(place, str(error))

    # --- kinds

    def _task(self, where: Where, step: Step, then: str) -> JSONObject:
        info = self._compiling.kinds.get(step.type)
        if info is None or info.structural:
            self._refuse(
                step.at("type"), "the account of the other definition is not known here", "Start it with arn:aws:states:::states:startExecution.sync:2."
            )
        elif step.given.get("dataMappers"):
            self._refuse(step.at("dataMappers"), "there are no data mappers", "Write {{STEP.PATH}} in the config.")
        else:
            return self._called(where, step, info, then)
        return {"Type": "Pass"}

    def _called(self, where: Where, step: Step, info: KindInfo, then: str) -> JSONObject:
        kind, script_names, nulls = info.name, info.scripts(), null_places(info)
        scripts = {name: value for name, value in step.config.items() if name in script_names}
        config: Any = with_references(Findings(), {name: value for name, value in step.config.items() if name not in scripts}, ())
        if kind == "http.request" and "url" not in config and isinstance(config.get("path"), str):
            config = {"url": "{{baseUrl}}" + config["path"], **{name: value for name, value in config.items() if name != "path"}}
        inputs: JSONObject = {**step.given.get("inputs", {}), **step.given.get("input", {})}
        names = where.names()
        member_ = "input" if "input" in step.given else "inputs"
        given = self._filled(names, inputs, where.previous, step, (member_,), nulls=nowhere if config or scripts else nulls)
        for name, script in {**scripts, **({} if config or scripts else inputs)}.items():
            if isinstance(script, str) and name in script_names and _EXECUTION_ID.search(script):
                self._refuse(step.at("config", name), "the id of an execution is an ARN there", "Read 'execution.name'.")
        if "$uuid" in str(inputs) and config:
            self._refuse(step.at(member_), "each place where a part of the input stands would get a $uuid of its own", "Set a variable in a step before.")
        if config or scripts:
            own = {name: self._one(names, value, where.previous, step, (member_, name)) for name, value in inputs.items()}
            filled = self._filled(where.names(given=own), config, where.previous, step, ("config",), nulls=nulls)
            params = {**filled, **{name: as_it_is(script) for name, script in scripts.items()}}
        else:
            params = given
        arguments: JSONObject = {"params": params, "input": given}
        if kind in SEES_ALL:
            arguments["variables"] = marked(where.all_variables)
            arguments["results"] = marked(f"$merge([{{}}, $each(${where.nodes}, function($v, $k) {{ {{$k: $v.output}} }})])")
        state: JSONObject = {"Type": "Task", "Resource": f"{RESOURCE}{kind}", "Arguments": {**arguments, "execution": _EXECUTION, "language": "workflow"}}
        if step.given.get("timeout") is not None:
            milliseconds = self._compiling.milliseconds(step.given["timeout"], step.at("timeout"), unit="s") or 0
            state["TimeoutSeconds"] = self._seconds(milliseconds / 1000, step.at("timeout"))
        if retry := [made for retrier in retriers_of(self._compiling, step) for made in self._retry(step, retrier)]:
            state["Retry"] = retry
        if catch := caught(where, step, then):
            state["Catch"] = catch
        return {**state, "Assign": self.left(where, step, _OUTPUT, "success")}

    def _filled(self, names: Names, value: JSONObject, previous: str | None, step: Step, place: Place, *, nulls: Places = nowhere) -> JSONObject:
        try:
            made: JSONObject = template(names, value, previous, nulls=nulls)
        except Untranslatable as error:
            self._refuse(step.at(*map(str, place)), str(error))
            return {}
        return made

    def _one(self, names: Names, value: JSONValue, previous: str | None, step: Step, place: Place) -> str:
        try:
            return f"({expression(names, value, previous)})"
        except Untranslatable as error:
            self._refuse(step.at(*map(str, place)), str(error))
            return "null"

    def _retry(self, step: Step, retrier: Retrier) -> Iterator[JSONObject]:
        place = step.at("retry") if "retry" in step.given else step.place
        if retrier.linear and retrier.max_attempts > 1:
            self._refuse((*place, "backoff"), "the language knows no wait that grows by the same each time", "Use 'fixed' or 'exponential'.")
        own: JSONObject = {
            "IntervalSeconds": self._seconds(retrier.interval_seconds, (*place, "interval") if "retry" in step.given else step.at("retryDelay")),
            "MaxAttempts": retrier.max_attempts,
            "BackoffRate": retrier.backoff_rate,
        }
        if retrier.max_delay_seconds is not None:
            own["MaxDelaySeconds"] = self._seconds(retrier.max_delay_seconds, (*place, "maxInterval"))
        if retrier.full_jitter:
            own["JitterStrategy"] = "FULL"
        for name in retrier.error_equals[::-1]:  # the language wants States.ALL alone, and last
            yield {"ErrorEquals": [name], **own}

    def _delay(self, where: Where, step: Step) -> JSONObject:
        given = {**step.config, **step.given.get("delay", {})}
        value, place = given.get("duration"), step.at("config", "duration")
        if has_braces(value) or given.get("jitter"):
            self._refuse(place, "only a constant time can be waited for")
            value = 0
        milliseconds = read_milliseconds(value, unit=given.get("unit", UNITS[0]))
        if milliseconds % 1000:
            self._refuse(place, WHOLE_SECONDS, "Wait for whole seconds.")
        return {"Type": "Wait", "Seconds": milliseconds // 1000, "Assign": self.left(where, step, literal({"waited": milliseconds}), "success")}

    def _wait(self, where: Where, step: Step) -> JSONObject:
        until = step.config.get("until_time", step.config.get("until"))
        if until is None:
            return self._delay(where, step)
        place = ("config", "until_time" if "until_time" in step.config else "until")
        moment = self._filled(where.names(), {"until": until}, where.previous, step, place).get("until", until)
        return {"Type": "Wait", "Timestamp": moment, "Assign": self.left(where, step, self._literal({"until": until}, step.at(*place)), "success")}

    def _merge(self, where: Where, step: Step) -> JSONObject:
        outputs = ", ".join(f"{literal(need)}: {member('$' + where.nodes, need)}.output" for need in step.needs)
        return {"Type": "Pass", "Assign": self.left(where, step, f"{{{outputs}}}", "success")}

    def _literal(self, value: JSONValue, place: Place) -> str:
        try:
            return literal(value)
        except ValueError as error:
            self._refuse(place, str(error))
            return "null"

    def _seconds(self, seconds: float, place: Place) -> int:
        if seconds != int(seconds) or seconds < 1:
            self._refuse(place, WHOLE_SECONDS, "Write whole seconds.")
        return max(1, int(seconds))

    def _refuse(self, place: Place, why: str, remedy: str = "") -> None:
        refuse(self._found, place, why, remedy)
