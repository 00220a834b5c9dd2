"""Test cases and their groups: what they hold, the workflow that a test case is, and what its executions say of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, dumps
from flowrunner.ports.executions import Head

TEST, GROUP, BATCH = "test", "test-group", "test-result"
PREFIX = "~test~"  # of the names of machines of test cases: no id of a workflow begins so
Priority = Literal["P0", "P1", "P2"]
Outcome = Literal["running", "passed", "failed", "error", "skipped"]
MAIN, CHECKS = "main", "checks"
FLAKY = 70.0  # the score from which on a test case is called flaky
LONG_MILLISECONDS = 30_000
OF_HTTP = ("status_code", "json_path")  # kinds of assertions that http steps judge themselves
OWN_KINDS = ("status_code", "json_path", "exit_code", "stdout_contains")  # of assertions, beside those of assert steps
ASSERTION_FAILED = "FlowRunner.AssertionFailed"


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """A test case. Times are milliseconds since 1970 UTC; `timeout` is seconds."""

    id: str
    group: str
    name: str
    type: str
    created_at: int
    updated_at: int
    priority: Priority = "P1"
    status: str = "active"
    objective: str = ""
    owner: str = ""
    timeout: int = 0
    http: dict[str, Any] = {}
    command: dict[str, Any] = {}
    workflow: str | None = None
    definition: dict[str, Any] | None = None
    steps: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    assertions: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    setup: tuple[dict[str, Any], ...] = ()
    teardown: tuple[dict[str, Any], ...] = ()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of test cases and of other groups."""

    id: str
    name: str
    created_at: int
    updated_at: int
    parent: str | None = None
    type: Literal["service", "module", "folder"] = "folder"
    description: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a group: the test cases and the executions that were begun."""

    id: str
    group: str
    started_at: int
    tests: tuple[tuple[str, str], ...]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How one execution of a test case came out. Times are milliseconds since 1970 UTC."""

    id: str
    test: str
    outcome: Outcome
    started_at: int
    ended_at: int | None
    error: str | None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What the last executions of a test case say: shares are percentages, `flaky` the share of executions that came out other than the one before."""

    runs: int
    success_rate: float
    flaky: float
    average_milliseconds: float
    last_run: int | None


# --- the workflow that a test case is


def text_of(test: Test) -> str:
    """The text of the workflow that carries a test case out. Raises InvalidDocument for one that says nothing or too much."""
    bodies = [name for name, given in (("workflowId", test.workflow), ("workflowDef", test.definition), ("steps", test.steps)) if given]
    if len(bodies) > 1:
        raise InvalidDocument(f"A test case has one of workflowId, workflowDef and steps, not {' and '.join(bodies)}.", pointer=f"/{bodies[1]}")
    whole = test.definition or ({"steps": test.steps} if test.steps else None)
    steps = _object(whole, "steps") if whole else {MAIN: _main(test)}
    last = _check(steps, test.assertions, subject="" if whole else MAIN)
    _before(steps, test.setup)
    _after(steps, test.teardown, last)
    made: JSONObject = {**(whole or {}), "name": test.name, "steps": steps}
    made["variables"] = {**_object(made, "variables"), **test.variables}
    return dumps(made | ({"timeout": test.timeout} if test.timeout else {}))


def _object(whole: JSONObject, member: str) -> JSONObject:
    """A copy of an object in a definition."""
    found = whole.get(member, {})
    if not isinstance(found, dict):
        raise InvalidDocument(f"'{member}' must be an object.", pointer=f"/workflowDef/{member}")
    return dict(found)


def _main(test: Test) -> JSONObject:
    step: JSONObject = {"id": MAIN, "name": test.name}
    if test.workflow:
        return step | {"type": "workflow", "config": {"workflowId": test.workflow, "variables": test.variables}}
    if test.type not in ("http", "command") or not getattr(test, test.type):
        raise InvalidDocument(
            "A test case of type http or command says what to do in the member of that name; others have workflowId, workflowDef or steps.", pointer="/type"
        )
    config = dict(getattr(test, test.type))
    judged = [_judged(one) for one in test.assertions if one.get("type") in OF_HTTP] if test.type == "http" else []
    return step | {"type": test.type, "config": {**config, "assertions": judged} if judged else config}


def _judged(given: dict[str, Any]) -> JSONObject:
    """An assertion that the http step judges itself, so that a status that is asserted is no failure."""
    expected = given.get("expected", given.get("value"))
    said = {"type": given["type"]} | ({"message": given["message"]} if "message" in given else {})
    if given["type"] == "status_code":
        return said | {"expected": expected}
    there = given.get("operator") == "exists" or expected is None
    return said | {"path": given.get("path", "")} | ({"exists": True} if there else {"expected": expected})


def _check(steps: dict[str, Any], assertions: Sequence[dict[str, Any]], *, subject: str) -> list[str]:
    if not assertions:
        return list(steps)
    if CHECKS in steps:
        raise InvalidDocument(f"A step cannot be called {CHECKS} beside assertions.", pointer="/steps")
    made = [_assertion(one, subject) for one in assertions if not (subject and one.get("type") in OF_HTTP)]
    if not made:
        return list(steps)
    steps[CHECKS] = {"id": CHECKS, "name": "Assertions", "type": "assert", "dependsOn": list(steps), "config": {"assertions": made}}
    return [CHECKS]


def _assertion(given: dict[str, Any], subject: str) -> JSONObject:
    """An assertion as an assert step takes it; the test case's own kinds (``exit_code``) are put into those."""
    kind, expected = given.get("type"), given.get("expected", given.get("value"))
    whole: JSONObject = {"actual": f"{{{{nodes.{subject}.output}}}}"} if subject else {}
    said = {"message": given["message"]} if "message" in given else {}
    if kind in OWN_KINDS and not subject:
        raise InvalidDocument(
            f"Assertions of the kind {kind} are for test cases of type http or command; assert steps compare what steps gave.", pointer="/assertions"
        )
    match kind:
        case "exit_code":
            return {"type": "equals", **whole, "path": "exitCode", "expected": expected, **said}
        case "stdout_contains":
            return {"type": "contains", **whole, "path": "stdout", "expected": expected, **said}
    return whole | given


def _hook(given: dict[str, Any], name: str) -> JSONObject:
    kind = given.get("type")
    if kind not in ("http", "command"):
        raise InvalidDocument("A hook is of type http or command.", pointer="/setupHooks")
    step: JSONObject = {"id": name, "name": given.get("name", name), "type": kind, "config": given.get("config") or given.get(str(kind)) or {}}
    if given.get("continueOnError"):
        step["onError"] = "continue"
    if isinstance(saved := given.get("saveResponse"), str):
        step["output"] = {saved: "body" if kind == "http" else "stdout"}
    return step


def _before(steps: dict[str, Any], hooks: Sequence[dict[str, Any]]) -> None:
    """Hooks run one after the other before every step that waits for none."""
    first = [name for name, step in steps.items() if isinstance(step, dict) and not step.get("dependsOn")]
    last: list[str] = []
    for number, hook in enumerate(hooks):
        name = f"setup-{number + 1}"
        steps[name] = _hook(hook, name) | {"dependsOn": last}
        last = [name]
    for name in first if last else ():
        steps[name] = {**steps[name], "dependsOn": last}


def _after(steps: dict[str, Any], hooks: Sequence[dict[str, Any]], last: list[str]) -> None:
    for number, hook in enumerate(hooks):
        if hook.get("runOnFailure"):
            raise InvalidDocument("Hooks that run after a failure are not supported: a run ends with the step that failed.", pointer="/teardownHooks")
        name = f"teardown-{number + 1}"
        steps[name] = _hook(hook, name) | {"dependsOn": last}
        last = [name]


# --- what executions say


def result_of(head: Head) -> Result:
    """An execution of a test case as its result: an assertion that does not hold is `failed`, any other failure `error`."""
    outcome: Outcome = "error"
    if head.status in ("RUNNING", "PENDING_REDRIVE"):
        outcome = "running"
    elif head.status == "SUCCEEDED":
        outcome = "passed"
    elif head.status == "ABORTED":
        outcome = "skipped"
    elif head.error == ASSERTION_FAILED:
        outcome = "failed"
    said = ": ".join(part for part in (head.error, head.cause) if part) or None
    return Result(id=head.id, test=head.machine.partition(PREFIX)[2], outcome=outcome, started_at=head.started_at, ended_at=head.stopped_at, error=said)


def score_of(results: Sequence[Result]) -> Score:
    """What results, newest first, say of a test case; those that run or were cancelled say nothing."""
    ended = [result for result in results if result.outcome in ("passed", "failed", "error")]
    passed = [result.outcome == "passed" for result in ended]
    changes = sum(one != other for one, other in pairwise(passed))
    durations = [result.ended_at - result.started_at for result in ended if result.ended_at is not None]
    return Score(
        runs=len(ended),
        success_rate=100 * sum(passed) / len(passed) if passed else 0.0,
        flaky=100 * changes / (len(passed) - 1) if len(passed) > 1 else 0.0,
        average_milliseconds=sum(durations) / len(durations) if durations else 0.0,
        last_run=results[0].started_at if results else None,
    )
