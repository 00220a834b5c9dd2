"""The shapes of the messages of state machines: what the details of history events have, by the type of the message.

Names are those of Step Functions (API reference, HistoryEvent). Payloads of tasks are JSON as text.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from flowrunner.api.messages import STATE_KINDS, type_of
from flowrunner.core import attempts, enter
from flowrunner.views.shapes import Shape

UNKNOWN_TO_AWS = frozenset({"ActivityStartFailed", "ActivitySubmitFailed", "LambdaFunctionSubmitFailed", "TaskScheduleFailed"})  # nothing makes them


def event_types() -> list[str]:
    """The types of history events that the machine makes."""
    made = ["ExecutionStarted", "ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted", "EvaluationFailed"]
    made += [f"{kind}StateEntered" for kind in STATE_KINDS]
    made += [f"{kind}StateExited" for kind in STATE_KINDS if kind != "Fail"]
    made += [f"{kind}StateAborted" for kind in STATE_KINDS if kind not in ("Pass", "Choice", "Succeed", "Fail")]
    made += [f"{kind}State{how}" for kind in ("Parallel", "Map") for how in ("Started", "Succeeded", "Failed")]
    made += [f"MapIteration{how}" for how in ("Started", "Succeeded", "Failed", "Aborted")]
    made += [f"MapRun{how}" for how in ("Started", "Succeeded", "Failed")]
    for prefix in enter.EVENT_PREFIX.values():
        made += [f"{prefix}{how}" for how in ("Scheduled", "Started", "Succeeded", "TimedOut", *attempts.FAILED_EVENT.values())]
    return [*(event for event in made if event not in UNKNOWN_TO_AWS), "TaskSubmitted"]


class Truncated(Shape, kw_only=True):
    """Whether something of a payload was left out, which never happens."""

    truncated: bool


class Role(Shape, kw_only=True):
    """What a task acts as."""

    role_arn: str


class Bare(Shape, kw_only=True):
    """No details."""


class Started(Shape, kw_only=True):
    """The execution has begun."""

    input: str
    input_details: Truncated
    role_arn: str


class Given(Shape, kw_only=True):
    """What was given."""

    output: str
    output_details: Truncated


class Failed(Shape, kw_only=True):
    """What went wrong."""

    error: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET


class EvaluationFailed(Failed, kw_only=True):
    """An expression of a state could not be evaluated."""

    state: str
    location: str | UnsetType = UNSET


class Entered(Shape, kw_only=True):
    """A state was entered: the run has come to it."""

    name: str
    input: str
    input_details: Truncated


class Exited(Given, kw_only=True):
    """A state was left; the values of `assignedVariables` are JSON as text."""

    name: str
    assigned_variables: dict[str, str] | UnsetType = UNSET
    assigned_variables_details: Truncated | UnsetType = UNSET


class Opened(Shape, kw_only=True):
    """A Parallel or Map state has begun its work; `length` is the number of a Map's items."""

    length: int | UnsetType = UNSET


class Iteration(Shape, kw_only=True):
    """One iteration of the Map state `name`."""

    index: int
    name: str


class MapRun(Shape, kw_only=True):
    """A distributed Map has begun."""

    map_run_arn: str


class OfResource(Shape, kw_only=True):
    """A task of a service."""

    resource: str | UnsetType = UNSET
    resource_type: str | UnsetType = UNSET


class Scheduled(OfResource, kw_only=True):
    """A task is to be done: of a service with `parameters`, of a function or an activity with `input`."""

    region: str | UnsetType = UNSET
    parameters: str | UnsetType = UNSET
    input: str | UnsetType = UNSET
    input_details: Truncated | UnsetType = UNSET
    timeout_in_seconds: float | UnsetType = UNSET
    heartbeat_in_seconds: float | UnsetType = UNSET
    task_credentials: Role | UnsetType = UNSET


class TaskStarted(OfResource, kw_only=True):
    """Somebody does it; `workerName` is an activity's."""

    worker_name: str | UnsetType = UNSET


class TaskGave(OfResource, kw_only=True):
    """What a task gave."""

    output: str
    output_details: Truncated


class TaskFailed(OfResource, kw_only=True):
    """What a task failed with."""

    error: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET


_BY_TYPE: dict[str, type[Shape]] = {
    "execution_started": Started,
    "execution_succeeded": Given,
    "evaluation_failed": EvaluationFailed,
    "state_entered": Entered,
    "state_exited": Exited,
    "state_started": Opened,
    "map_run_started": MapRun,
    "task_scheduled": Scheduled,
    "task_started": TaskStarted,
    "task_succeeded": TaskGave,
    "task_submitted": TaskGave,
}
# What types of the same beginning have in common, where the table above says nothing.
_BY_BEGINNING: tuple[tuple[str, type[Shape]], ...] = (
    ("execution_", Failed),
    ("map_iteration_", Iteration),
    ("map_run_failed", Failed),
    ("task_", TaskFailed),
    ("state_", Bare),
    ("map_run_", Bare),
)


def shape_of(kind: str) -> type[Shape]:
    """What a message of this type has beside what all of them have; raises KeyError for a type that is none."""
    found = _BY_TYPE.get(kind) or next((shape for beginning, shape in _BY_BEGINNING if kind.startswith(beginning)), None)
    if found is None:
        raise KeyError(kind)
    return found


def events_of() -> dict[str, list[str]]:
    """Each type of message and its history events."""
    found: dict[str, list[str]] = {}
    for event in event_types():
        found.setdefault(type_of(event), []).append(event)
    return found
