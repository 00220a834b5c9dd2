"""Test cases and their groups: what they hold, the text of a test case, and what its executions say of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from flowrunner.jsonvalue import dumps, loads
from flowrunner.ports.executions import VERDICT, Head

TEST, GROUP, BATCH = "test", "test-group", "test-result"
PREFIX = "test/"  # of the names of machines of test cases
Priority = Literal["P0", "P1", "P2"]
Outcome = Literal["running", "passed", "failed", "error", "skipped"]
FLAKY = 70.0  # the score from which on a test case is called flaky
LONG_MILLISECONDS = 30_000
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
    description: str = ""
    owner: str = ""
    timeout: int = 0
    retry: dict[str, Any] = {}
    retry_count: int | None = None
    retry_delay: int | str | None = None
    disabled: bool = False
    metadata: dict[str, Any] = {}
    http: dict[str, Any] = {}
    command: dict[str, Any] = {}
    workflow: str | None = None
    definition: dict[str, Any] | None = None
    steps: dict[str, Any] | list[Any] = {}
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
    """A run of a group: the test cases in order, each with its execution ("" before that has begun); `concurrency` of them run at once.

    `revisions` are their texts, by place; `input` is what all begin with, as JSON text; `errors` says why one could not begin.
    """

    id: str
    group: str
    started_at: int
    tests: tuple[tuple[str, str], ...]
    revisions: tuple[str, ...] = ()
    input: str = "{}"
    concurrency: int = 10
    errors: dict[str, str] = {}

    def waiting(self) -> list[int]:
        """The places of those that are still to begin."""
        return [place for place, (test, execution) in enumerate(self.tests) if not execution and test not in self.errors]


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


# --- the text of a test case


def text_of(test: Test) -> str:
    """The text of a test case, as its front end reads it (``workflow/testcase.py``)."""
    members = {
        "testId": test.id,
        "name": test.name,
        "type": test.type,
        "http": test.http,
        "command": test.command,
        "workflowId": test.workflow,
        "workflowDef": test.definition,
        "steps": test.steps,
        "status": test.status,
        "objective": test.objective,
        "description": test.description,
        "timeout": test.timeout,
        "retry": test.retry,
        "retryCount": test.retry_count,
        "retryDelay": test.retry_delay,
        "disabled": test.disabled,
        "metadata": test.metadata,
        "variables": test.variables,
        "assertions": list(test.assertions),
        "setupHooks": list(test.setup),
        "teardownHooks": list(test.teardown),
    }
    return dumps({name: value for name, value in members.items() if value or name in ("retryCount", "retryDelay", "type")})


# --- what executions say


def result_of(head: Head) -> Result:
    """An execution of a test case as its result: an assertion that does not hold is `failed`, any other failure `error`."""
    outcome: Outcome = "error"
    if head.status in ("RUNNING", "PENDING_REDRIVE"):
        outcome = "running"
    elif head.status == "SUCCEEDED":
        outcome = "skipped" if _is_skipped(head) else "passed"
    elif head.status == "ABORTED":
        outcome = "skipped"
    elif head.error == ASSERTION_FAILED:
        outcome = "failed"
    cause = None if head.cause is None else head.cause.partition("\n")[0]  # behind it stands the result as JSON text
    said = ": ".join(part for part in (head.error, cause) if part) or None
    return Result(id=head.id, test=head.machine.removeprefix(PREFIX), outcome=outcome, started_at=head.started_at, ended_at=head.stopped_at, error=said)


def _is_skipped(head: Head) -> bool:
    """Whether nothing was tested: by the verdict; of an execution of an earlier release by the output, which lists leave out."""
    extra = None if head.extra is None else loads(head.extra)
    if isinstance(extra, dict) and VERDICT in extra:
        return bool(extra[VERDICT] == "skipped")
    value = None if head.output is None else loads(head.output)
    return isinstance(value, dict) and value.get("status") == "skipped"


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
