"""The shapes of what streams say: payloads and details of their messages, by which they are made and described.

A docstring here is what users read of the message. Times are RFC 3339 in UTC, durations milliseconds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

RunStatus = Literal["running", "success", "failed", "cancelled"]
ExecutionStatus = Literal["RUNNING", "PENDING_REDRIVE", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
StepEnd = Literal["success", "failed", "skipped", "cancelled"]


class Shape(msgspec.Struct, kw_only=True, rename="camel"):
    """An object of a message."""


class Named(Shape, kw_only=True):
    """A step by id and name; `iteration` is its index in a loop."""

    step_id: str
    step_name: str
    iteration: int | UnsetType = UNSET


class Place(Shape, kw_only=True):
    """What is told beyond a payload of what has no step of its own: the name of the step, and its index in a loop."""

    step_name: str
    iteration: int | UnsetType = UNSET


class StepStart(Shape, kw_only=True):
    """A step or node has begun. `detail`: `stepType`, `progress` (percent) and, within a loop, `iteration`."""

    step_id: str
    step_name: str


class StepStartDetail(Shape, kw_only=True):
    """Beside `step_start`; `progress` is percent and never falls."""

    step_type: str
    progress: float
    iteration: int | UnsetType = UNSET


class StepComplete(Shape, kw_only=True):
    """It is over: `success`, `failed`, `skipped` or `cancelled`; `duration` is milliseconds. `detail`: `stepType`, `action`, `error`, `cause`."""

    step_id: str
    step_name: str
    status: StepEnd
    duration: int


class StepCompleteDetail(Shape, kw_only=True):
    """Beside `step_complete`."""

    step_type: str
    action: str | UnsetType = UNSET
    error: str | UnsetType | None = UNSET
    cause: str | UnsetType | None = UNSET
    iteration: int | UnsetType = UNSET


class StepLog(Shape, kw_only=True):
    """It said something: `debug`, `info`, `warn` or `error`. `detail`: `data` and, in a loop or a batch, `iteration`.

    A batch that is lost is an `error` with `batch_index`, `error` and `cause` in `data`.
    """

    step_id: str
    level: Literal["debug", "info", "warn", "error"]
    message: str
    timestamp: str


class StepLogDetail(Place, kw_only=True):
    """Beside `step_log`."""

    data: Any = UNSET


class VariableChange(Shape, kw_only=True):
    """A variable was set: `changeType` is `create`, `update` or `delete`; what was not there is null."""

    step_id: str
    var_name: str
    old_value: Any
    new_value: Any
    change_type: Literal["create", "update", "delete"]


class RetryScheduled(Named, kw_only=True):
    """It failed and will be tried again: `delay` is milliseconds; `batch_index`, from 0, is that of one batch of the node."""

    attempt: int
    delay: int
    error: str | None
    cause: str | None
    batch_index: int | UnsetType = msgspec.field(default=UNSET, name="batch_index")  # as scripts know it


class Waiting(Named, kw_only=True, rename={"step_id": "stepId", "step_name": "stepName", "what": "for"}):
    """It waits: `for` is `time`, `execution` (another run) or `callback`; `until`, RFC 3339, it waits no longer; null without a bound."""

    what: Literal["time", "execution", "callback"]
    until: str | None


class LoopStart(Named, kw_only=True):
    """A loop has begun: `loopType` is `forEach` with `source`, `while` with `condition`, or `count` with `count`."""

    loop_type: Literal["forEach", "while", "count"]
    source: Any = UNSET
    condition: Any = UNSET
    count: Any = UNSET


class IterationStart(Named, kw_only=True):
    """An iteration has begun: `index` counts from 0, `total` is null where nobody knows it."""

    index: int
    item: Any
    total: int | None


class IterationComplete(Named, kw_only=True):
    """It is over: `success`, `failed` or `skipped`; `duration` is milliseconds."""

    index: int
    status: Literal["success", "failed", "skipped"]
    duration: int


class LoopComplete(Named, kw_only=True):
    """The loop is over: `exitReason` is `completed`, `break`, `maxIterations`, `conditionFalse` or `error`.

    `totalIterations` have begun; `completedIterations` are those that did not fail, skipped ones too.
    """

    total_iterations: int
    completed_iterations: int
    failed_iterations: int
    exit_reason: Literal["completed", "break", "maxIterations", "conditionFalse", "error"]


class BranchDecision(Named, kw_only=True):
    """A branch was chosen: by its `condition`, or because none held (`isDefault`); where none is taken: null, -1, false and null."""

    selected_branch: str | None
    branch_index: int
    is_default: bool
    condition: str | None


class Node(Shape, kw_only=True):
    """A step or node that a run has come to; `iteration` is its index in a loop."""

    id: str
    name: str
    type: str
    iteration: int | UnsetType = UNSET


class Ending(Shape, kw_only=True):
    """How a run stands, and what it has failed with."""

    status: RunStatus
    execution_status: ExecutionStatus
    error: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET


class StatusChange(Ending, kw_only=True):
    """The run has begun, has come to a step (`node`: `id`, `name`, `type`, and `iteration` in a loop), goes on after a redrive, or is over. `progress` is percent and never falls."""

    progress: float | UnsetType = UNSET
    node: Node | UnsetType = UNSET


class StandingNode(Shape, kw_only=True):
    """A step, node or state that runs."""

    id: str
    name: str
    type: str


class StandingStep(Shape, kw_only=True):
    """One step, node or state of a run, however often it is entered.

    It runs while it is entered anywhere, and `duration` is null; otherwise `status` and `duration` are those of the time that ended last.
    `startTime` is when it was entered last, `entered` how often; neither of one that was skipped.
    """

    step_id: str
    step_name: str
    step_type: str
    status: Literal["running", "success", "failed", "skipped", "cancelled"]
    start_time: str | None
    duration: int | None
    entered: int


class Snapshot(Ending, kw_only=True):
    """How the run stands once everything up to `lastSeq` has happened: instead of all messages up to there, with `?snapshot=1`.

    `nodes` run now, `steps` are all that were entered or skipped, `variables` those that were set, as set last. State machines have no `progress`.
    """

    progress: float | UnsetType = UNSET
    nodes: list[StandingNode]
    steps: list[StandingStep]
    variables: dict[str, Any]
    last_seq: int


class End(Ending, kw_only=True):
    """The last message: `output` is JSON as text, of a run that succeeded; `error` and `cause` of one that did not."""

    last_seq: int
    output: str | UnsetType = UNSET


def members(shape: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of an object's members as they are sent."""
    return tuple(field.encode_name for field in msgspec.structs.fields(shape))
