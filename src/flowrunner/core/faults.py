"""The predefined error names and what Retry and Catch match (ASL specification, "Errors"; AWS "Handling errors")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONValue

ALL = "States.ALL"
TASK_FAILED = "States.TaskFailed"
TIMEOUT = "States.Timeout"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
RUNTIME = "States.Runtime"
DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"
PARAMETER_PATH_FAILURE = "States.ParameterPathFailure"
RESULT_PATH_MATCH_FAILURE = "States.ResultPathMatchFailure"
INTRINSIC_FAILURE = "States.IntrinsicFailure"
NO_CHOICE_MATCHED = "States.NoChoiceMatched"
BRANCH_FAILED = "States.BranchFailed"
EXCEED_TOLERATED_FAILURE_THRESHOLD = "States.ExceedToleratedFailureThreshold"
ITEM_READER_FAILED = "States.ItemReaderFailed"
RESULT_WRITER_FAILED = "States.ResultWriterFailed"
OUTCOME_UNKNOWN = "FlowRunner.OutcomeUnknown"

TERMINAL = frozenset({RUNTIME})  # never retried or caught, not even by name: a bug of the definition, as AWS has it
NOT_BY_WILDCARD = frozenset({DATA_LIMIT_EXCEEDED})


# SensitiveError and SensitiveCause: https://docs.aws.amazon.com/step-functions/latest/apireference/API_ExecutionFailedEventDetails.html
MAX_ERROR_CHARACTERS = 256
MAX_CAUSE_CHARACTERS = 32_768


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a state failed: error name and cause as the history shows them (either may be absent).

    `location` is the field of a failed JSONata evaluation; `evaluated` tells that the evaluation itself failed
    (``EvaluationFailed`` follows the event before the state in the causal chain), not the check of its result.
    `alias` is a second name that Retry and Catch may use: the history calls a missed heartbeat ``States.Timeout``, as AWS
    recorded it, while the documentation catches ``States.HeartbeatTimeout``. `detail` is what a flow's own Fail state
    tells the catcher besides. Longer texts than AWS has are cut, whoever made them.
    """

    error: str | None
    cause: str | None
    location: str | None = None
    evaluated: bool = True
    alias: str | None = None
    recorded: bool = False  # EvaluationFailed stands in the history already: the scope around it does not repeat it
    detail: JSONValue = None

    def __post_init__(self) -> None:
        if self.error is not None and len(self.error) > MAX_ERROR_CHARACTERS:
            object.__setattr__(self, "error", self.error[:MAX_ERROR_CHARACTERS])
        if self.cause is not None and len(self.cause) > MAX_CAUSE_CHARACTERS:
            object.__setattr__(self, "cause", self.cause[:MAX_CAUSE_CHARACTERS])


def too_long(what: str, milliseconds: int) -> str:
    """The cause of a timeout."""
    return f"{what} took longer than {milliseconds / 1000:.12g} s."


class StateFailed(Exception):
    """Carries a Failure from where it happens to where the machine decides."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.error)


def matches(failure: Failure, names: Sequence[str]) -> bool:
    """Whether an ErrorEquals list matches this failure."""
    error = failure.error
    if error in TERMINAL:
        return False
    if error in names or (failure.alias is not None and failure.alias in names):
        return True
    if error in NOT_BY_WILDCARD:
        return False
    return ALL in names or (TASK_FAILED in names and error != TIMEOUT)
