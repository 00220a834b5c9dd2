"""What may be written where in a workflow: one table for checking, and for the JSON Schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant, shown

UNKNOWN_FIELD = "UNKNOWN_FIELD"
INVALID_VALUE = "INVALID_VALUE"
MISSING_FIELD = "MISSING_FIELD"
DUPLICATE_ID = "DUPLICATE_ID"
EXTENSION = "x-"

TYPES: Mapping[str, tuple[type, ...]] = {
    "a text": (str,),
    "an object": (dict,),
    "a list": (list,),
    "true or false": (bool,),
    "a list or an object": (list, dict),
    "a number": (int, float),
    "a whole number": (int,),
    "a number or a text": (int, float, str),
    "a text or true or false": (str, bool),
    "anything": (object,),
}
WORKFLOW: Mapping[str, str] = {
    "workflowId": "a text", "name": "a text", "version": "a number or a text", "description": "a text", "variables": "an object", "steps": "a list or an object",
    "timeout": "a number or a text", "maxConcurrency": "a whole number", "isTestCase": "true or false", "createdBy": "a text", "metadata": "an object",
    "environment": "a text", "tags": "a list", "$schema": "a text",
}  # fmt: skip
STEP: Mapping[str, str] = {
    "id": "a text", "name": "a text", "description": "a text", "type": "a text", "config": "an object", "input": "an object", "inputs": "an object",
    "output": "an object", "outputs": "an object", "dependsOn": "a list", "when": "a text or true or false", "condition": "a text or true or false",
    "retry": "an object", "retryCount": "a whole number", "retryDelay": "a number or a text", "timeout": "a number or a text", "onError": "a text",
    "continueOnFail": "true or false", "disabled": "true or false", "dataMappers": "a list", "loop": "an object", "loopOver": "anything", "loopVar": "a text",
    "loopCondition": "a text or true or false", "maxIterations": "a whole number", "parallel": "true or false", "maxConcurrency": "a whole number",
    "children": "a list or an object", "elseChildren": "a list or an object", "branches": "a list", "actionTemplateId": "a text",
    "actionVersion": "a number or a text", "delay": "an object", "mode": "a text", "position": "an object", "metadata": "an object",
}  # fmt: skip
RETRY: Mapping[str, str] = {
    "maxAttempts": "a whole number", "interval": "a number or a text", "backoff": "a text", "backoffRate": "a number", "maxInterval": "a number or a text",
    "jitter": "true or false",
}  # fmt: skip
LOOP: Mapping[str, str] = {
    "type": "a text", "source": "anything", "items": "anything", "itemVar": "a text", "indexVar": "a text", "condition": "a text or true or false",
    "count": "a number or a text", "maxIterations": "a whole number", "breakCondition": "a text or true or false",
    "continueCondition": "a text or true or false", "parallel": "true or false", "concurrency": "a whole number", "children": "a list or an object",
}  # fmt: skip
BRANCH: Mapping[str, str] = {"condition": "a text or true or false", "label": "a text", "children": "a list or an object", "priority": "a number"}
TESTCASE: Mapping[str, str] = {
    "testId": "a text", "groupId": "a text", "name": "a text", "type": "a text", "priority": "a text", "status": "a text", "objective": "a text",
    "description": "a text", "timeout": "a number or a text", "retry": "an object", "retryCount": "a whole number", "retryDelay": "a number or a text",
    "disabled": "true or false", "variables": "an object", "http": "an object", "command": "an object", "steps": "a list or an object", "workflowId": "a text",
    "workflowDef": "an object", "assertions": "a list", "setupHooks": "a list", "teardownHooks": "a list", "tags": "a list", "owner": "a text",
    "ownerId": "a text", "createdBy": "a text", "environment": "a text", "metadata": "an object", "$schema": "a text",
}  # fmt: skip
SUITE: Mapping[str, str] = {
    "name": "a text", "description": "a text", "variables": "an object", "tests": "a list", "metadata": "an object", "$schema": "a text",
}  # fmt: skip
HOOK: Mapping[str, str] = {
    "type": "a text", "name": "a text", "http": "an object", "command": "an object", "config": "an object", "saveResponse": "a text",
    "runOnFailure": "true or false", "continueOnError": "true or false",
}  # fmt: skip
ASSERTION: Mapping[str, str] = {
    "type": "a text", "path": "a text", "operator": "a text", "expected": "anything", "value": "anything", "equals": "anything", "in": "a list",
    "exists": "true or false", "actual": "anything", "message": "a text",
}  # fmt: skip
MAPPER: Mapping[str, str] = {"id": "a text", "sourceStep": "a text", "sourcePath": "a text", "targetParam": "a text", "transform": "a text"}
NOT_IN_WORKFLOWS: Mapping[str, str] = {  # kinds that belong to flows, and what does the same here
    **dict.fromkeys(("batch", "async_batch"), "Write a loop of the type forEach."),
    **dict.fromkeys(("parallel_batch", "worker_pool"), "Write a loop of the type forEach with parallel: true."),
    "flow": "A step of the kind 'workflow' starts a stored workflow.",
    "cron": "Make a schedule: flowrunner schedule create, or POST /api/v1/schedules.",
}
WITHOUT_EFFECT = frozenset({"environment"})  # members that are read to be refused with a remedy
OLDER_NAMES: Mapping[str, str] = {  # of kinds
    "sql": "database", "cmd": "command", "sub-workflow": "workflow", "subworkflow": "workflow", "sleep": "delay", "test_case": "test-case",
}  # fmt: skip
DEFAULT = "default"  # the condition of a branch that is taken when no other is
OLDER_LOOP: Mapping[str, str] = {
    "loopOver": "source", "loopVar": "itemVar", "loopCondition": "condition", "maxIterations": "maxIterations", "parallel": "parallel",
    "maxConcurrency": "concurrency",
}  # fmt: skip


def kind_of(given: JSONObject) -> JSONValue:
    """What kind of loop has these members."""
    return given.get("type") or ("while" if "condition" in given and "source" not in given else "count" if "count" in given else "forEach")


def read_object(found: Findings, value: JSONValue, place: Place, known: Mapping[str, str], *, nulls: Collection[str] = ()) -> JSONObject:
    """The members that are what they should be; the others are among the findings. A member that is null is absent, but for those of `nulls`."""
    if not isinstance(value, dict):
        found.error(place, f"It must be an object with {', '.join(known)}; {shown(value)} stands there.", INVALID_VALUE)
        return {}
    good: JSONObject = {}
    for name, part in value.items():
        wanted = known.get(name)
        if wanted is None:
            if not name.startswith(EXTENSION):
                found.error((*place, name), f"'{name}' is not known here.", UNKNOWN_FIELD, hint=meant(name, known))
        elif part is None:
            good.update({name: None} if name in nulls else {})
        elif not isinstance(part, TYPES[wanted]) or (isinstance(part, bool) and bool not in TYPES[wanted] and object not in TYPES[wanted]):
            found.error((*place, name), f"'{name}' must be {wanted}; {shown(part)} stands there.", INVALID_VALUE)
        else:
            good[name] = part
    return good
