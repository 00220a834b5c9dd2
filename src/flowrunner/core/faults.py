"""The predefined error names and what Retry and Catch match (ASL specification, "Errors"; AWS "Handling errors")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONValue
from flowrunner.limits import MAX_CAUSE_CHARACTERS, MAX_ERROR_CHARACTERS

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
INVALID_PARAMETERS = "FlowRunner.InvalidParameters"  # in flows and workflows what a failed evaluation is to AWS

TERMINAL = frozenset({RUNTIME})  # never retried or caught, not even by name: a bug of the definition, as AWS has it
NOT_BY_WILDCARD = frozenset({DATA_LIMIT_EXCEEDED})
_HANDED_UP = re.compile(r"(\S+?)(?:: (.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a state failed: error name and cause as the history shows them (either may be absent).

    `location` is the field of a failed JSONata evaluation; `evaluated` tells that the evaluation itself failed
    (``EvaluationFailed`` follows the event before the state in the causal chain), not the check of its result.
    `alias` is a second name that Retry and Catch may use: the history calls a missed heartbeat ``States.Timeout``, as AWS
    recorded it, while the documentation catches ``States.HeartbeatTimeout``. `detail` is what a flow's own Fail state
    tells the catcher besides. `said` is what stands in the cause behind AWS's opening words. Longer texts than AWS has are cut, whoever made them.
    """

    error: str | None
    cause: str | None
    location: str | None = None
    evaluated: bool = True
    alias: str | None = None
    recorded: bool = False  # EvaluationFailed stands in the history already: the scope around it does not repeat it
    detail: JSONValue = None
    said: str | None = None

    def __post_init__(self) -> None:
        if self.error is not None and len(self.error) > MAX_ERROR_CHARACTERS:
            object.__setattr__(self, "error", self.error[:MAX_ERROR_CHARACTERS])
        if self.cause is not None and len(self.cause) > MAX_CAUSE_CHARACTERS:
            object.__setattr__(self, "cause", self.cause[:MAX_CAUSE_CHARACTERS])


def too_long(what: str, milliseconds: int) -> str:
    """The cause of a timeout."""
    return f"{what} took longer than {milliseconds / 1000:.12g} s."


def handed_up(error: str, cause: str | None) -> str:
    """The failure of a flow, workflow or test case in the words of the step that started it: ``ERROR: CAUSE``, at most 32,768 characters.

    What a child hands up that was handed to it stays as it is, so a chain of children that fail does not grow.
    """
    named = f"{TASK_FAILED}: "
    text = cause if error == TASK_FAILED and cause is not None and cause.startswith(named) else error[:MAX_ERROR_CHARACTERS] + (f": {cause}" if cause else "")
    return text[:MAX_CAUSE_CHARACTERS]


def read_handed_up(text: str) -> tuple[str, str | None] | None:
    """Error and cause of a child by what was handed up; None for what is no such text: an error's name has no blanks."""
    found = _HANDED_UP.fullmatch(text)
    return None if found is None else (found[1], found[2])


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
