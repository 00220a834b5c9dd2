"""What the routes of test cases and groups take and give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from flowrunner.api.problems import ProblemError
from flowrunner.definitions.testcases import Batch, Group, Outcome, Priority, Result, Score, Test
from flowrunner.views.records import moment
from flowrunner.workflow.testcase import STATUSES
from flowrunner.workflow.testparts import TYPES_OF_TESTS

GroupType = Literal["service", "module", "folder"]
# Texts here: the reader of test cases says what else was meant.
TestType = Annotated[str, Meta(extra_json_schema={"enum": list(TYPES_OF_TESTS)})]
TestStatus = Annotated[str, Meta(extra_json_schema={"enum": list(STATUSES)})]


class NewTest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A test case: what it does is in exactly one of `http`, `command`, `workflowId`, `workflowDef` and `steps`, and `type` says the same."""

    test_id: str
    group_id: str
    name: str
    type: TestType
    priority: Priority = "P1"
    status: TestStatus = "active"
    objective: str = ""
    description: str = ""
    owner_id: str = ""
    timeout: int = 0
    retry: dict[str, Any] = {}
    retry_count: int | None = None
    retry_delay: int | str | None = None
    disabled: bool = False
    metadata: dict[str, Any] = {}
    http: dict[str, Any] = {}
    command: dict[str, Any] = {}
    workflow_id: str | None = None
    workflow_def: dict[str, Any] | None = None
    steps: dict[str, Any] | list[Any] = {}
    variables: dict[str, Any] = {}
    assertions: list[dict[str, Any]] = []
    tags: list[str] = []
    setup_hooks: list[dict[str, Any]] = []
    teardown_hooks: list[dict[str, Any]] = []


class TestChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of a test case; what is left out stays, and null takes out what the test case did before."""

    test_id: str | None = None
    group_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    type: TestType | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    status: TestStatus | UnsetType = UNSET
    objective: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    owner_id: str | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    retry: dict[str, Any] | UnsetType | None = UNSET
    retry_count: int | UnsetType | None = UNSET
    retry_delay: int | str | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    http: dict[str, Any] | UnsetType | None = UNSET
    command: dict[str, Any] | UnsetType | None = UNSET
    workflow_id: str | UnsetType | None = UNSET
    workflow_def: dict[str, Any] | UnsetType | None = UNSET
    steps: dict[str, Any] | list[Any] | UnsetType | None = UNSET
    variables: dict[str, Any] | UnsetType = UNSET
    assertions: list[dict[str, Any]] | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    setup_hooks: list[dict[str, Any]] | UnsetType = UNSET
    teardown_hooks: list[dict[str, Any]] | UnsetType = UNSET


class TestInfo(NewTest, kw_only=True, rename="camel"):
    """A test case. Times are RFC 3339 UTC, `timeout` is seconds. `warnings` say what is doubtful about one that has just been kept, if anything is."""

    created_at: str
    updated_at: str
    warnings: list[ProblemError] | UnsetType = UNSET


class TestPage(msgspec.Struct):
    """One page of test cases, by id; `next_cursor` is null on the last one."""

    data: list[TestInfo]
    total: int
    limit: int
    offset: int
    next_cursor: str | None = None


class TestSearch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Which test cases: all conditions hold, of lists any member is enough. `lastRunBefore` is RFC 3339; pages are counted from 1."""

    keywords: str = ""
    priorities: list[Priority] = []
    statuses: list[str] = []
    tags: list[str] = []
    success_rate_min: float | None = None
    success_rate_max: float | None = None
    owner_id: str | None = None
    last_run_before: str | None = None
    is_flaky: bool | None = None
    page: int = 1
    page_size: int = 20


class TestResult(msgspec.Struct, kw_only=True, rename="camel"):
    """How one execution of a test case came out; it is a run too. Times are RFC 3339 UTC, `duration` is milliseconds."""

    result_id: str
    run_id: str
    test_id: str
    status: Outcome
    start_time: str
    end_time: str | None
    duration: int | None
    error: str | None


class TestScore(msgspec.Struct, kw_only=True, rename="camel"):
    """What the last executions of a test case say: shares are percentages, `averageDuration` is milliseconds."""

    test_id: str
    runs: int
    success_rate: float
    flaky_score: float
    average_duration: float
    last_run: str | None


class TestCounts(msgspec.Struct):
    """How many test cases there are, by what they are."""

    total: int
    by_type: dict[str, int]
    by_priority: dict[str, int]
    by_status: dict[str, int]


class TestStatistics(msgspec.Struct, kw_only=True, rename="camel"):
    """Counted over the last executions of each: flaky ones, those above 30 s on average, those that did not run for 30 days."""

    total: int
    mine: int
    p0: int
    flaky: int
    long_running: int
    not_run_recently: int
    tag_cloud: dict[str, int]


class NewGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A group of test cases; an id is made up unless given."""

    name: str
    group_id: str | None = None
    parent_id: str | None = None
    type: GroupType = "folder"
    description: str = ""


class GroupChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """What is to be changed of a group; what is left out stays."""

    name: str | UnsetType = UNSET
    parent_id: str | UnsetType | None = UNSET
    type: GroupType | UnsetType = UNSET
    description: str | UnsetType = UNSET


class GroupInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """A group of test cases. Times are RFC 3339 UTC."""

    group_id: str
    name: str
    parent_id: str | None
    type: GroupType
    description: str
    created_at: str
    updated_at: str


class GroupNode(GroupInfo, kw_only=True, rename="camel"):
    """A group with the groups in it and the ids of its test cases."""

    children: list[GroupNode]
    tests: list[str]


class BatchInfo(msgspec.Struct, kw_only=True, rename="camel"):
    """A run of a group: passed when all are, failed when one is not.

    `results` are those of the test cases that have begun, `pending` the ids of those that have not, both in the order in which they begin; `notBegun` says
    of a test case why it could not, and counts as failed.
    """

    run_id: str
    group_id: str
    status: Outcome
    start_time: str
    total: int
    passed: int
    failed: int
    results: list[TestResult]
    concurrency: int
    pending: list[str]
    not_begun: dict[str, str]


def shown_test(test: Test) -> TestInfo:
    """A test case as T shows it."""
    return TestInfo(
        test_id=test.id,
        group_id=test.group,
        name=test.name,
        type=test.type,
        priority=test.priority,
        status=test.status,
        objective=test.objective,
        description=test.description,
        owner_id=test.owner,
        timeout=test.timeout,
        retry=test.retry,
        retry_count=test.retry_count,
        retry_delay=test.retry_delay,
        disabled=test.disabled,
        metadata=test.metadata,
        http=test.http,
        command=test.command,
        workflow_id=test.workflow,
        workflow_def=test.definition,
        steps=test.steps,
        variables=test.variables,
        assertions=list(test.assertions),
        tags=list(test.tags),
        setup_hooks=list(test.setup),
        teardown_hooks=list(test.teardown),
        created_at=moment(test.created_at),
        updated_at=moment(test.updated_at),
    )


RENAMED = {
    "group_id": "group", "owner_id": "owner", "workflow_id": "workflow", "workflow_def": "definition", "setup_hooks": "setup", "teardown_hooks": "teardown",
}  # fmt: skip
OBJECTS = ("http", "command", "steps", "retry")  # null is an empty one of these
LISTS = ("assertions", "tags", "setup", "teardown")


def members_of(given: NewTest | TestChange) -> dict[str, Any]:
    """The members of a test case that a body gives."""
    found = {RENAMED.get(name, name): getattr(given, name) for name in given.__struct_fields__ if name != "test_id"}
    members = {name: tuple(value) if name in LISTS else value for name, value in found.items() if value is not UNSET}
    return {name: {} if value is None and name in OBJECTS else value for name, value in members.items()}


def shown_result(result: Result) -> TestResult:
    """A result as T shows it."""
    return TestResult(
        result_id=result.id,
        run_id=result.id,
        test_id=result.test,
        status=result.outcome,
        start_time=moment(result.started_at),
        end_time=None if result.ended_at is None else moment(result.ended_at),
        duration=None if result.ended_at is None else result.ended_at - result.started_at,
        error=result.error,
    )


def shown_score(test: str, score: Score) -> TestScore:
    """A score as it is shown."""
    return TestScore(
        test_id=test,
        runs=score.runs,
        success_rate=score.success_rate,
        flaky_score=score.flaky,
        average_duration=score.average_milliseconds,
        last_run=None if score.last_run is None else moment(score.last_run),
    )


def shown_group(group: Group) -> dict[str, Any]:
    """The members of a group as T shows it."""
    return {
        "group_id": group.id, "name": group.name, "parent_id": group.parent, "type": group.type, "description": group.description,
        "created_at": moment(group.created_at), "updated_at": moment(group.updated_at),
    }  # fmt: skip


def shown_batch(batch: Batch, results: list[Result]) -> BatchInfo:
    """A run of a group with the results so far."""
    outcomes = [result.outcome for result in results]
    failed = sum(outcome in ("failed", "error") for outcome in outcomes) + len(batch.errors)
    passed, waiting = outcomes.count("passed"), batch.waiting()
    status: Outcome = "running" if waiting or "running" in outcomes else "failed" if failed else "passed" if passed else "skipped"
    return BatchInfo(
        run_id=batch.id,
        group_id=batch.group,
        status=status,
        start_time=moment(batch.started_at),
        total=len(batch.tests),
        passed=passed,
        failed=failed,
        results=[shown_result(result) for result in results],
        concurrency=batch.concurrency,
        pending=[batch.tests[place][0] for place in waiting],
        not_begun=batch.errors,
    )
