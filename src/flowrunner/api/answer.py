"""FlowRunner's errors as AWS's: the only place where the AWS surface translates them (``problems.py`` does for the REST APIs).

The text of an error that is the server's own trouble is never shown to callers.
"""

from __future__ import annotations

from typing import NamedTuple

from flowrunner.errors import FlowRunnerError, InvalidToken, NotFound, StoreUnavailable, TaskTokenTimedOut

AWAY = "The store does not answer at the moment. What was asked may still take effect; try again."
HIDDEN = "The server could not do what was asked; its log has the reason under the request's id."
# code of an error -> AWS's code. What is not here is answered InternalFailure.
AWS_CODES = {
    "access_denied": "AccessDeniedException",
    "conflict": "ConflictException",
    "execution_already_exists": "ExecutionAlreadyExists",
    "fenced": "ServiceUnavailable",
    "invalid_definition": "InvalidDefinition",
    "invalid_document": "ValidationException",
    "invalid_token": "InvalidToken",
    "limit_exceeded": "ValidationException",
    "replay_mismatch": "ConflictException",
    "store_error": "ServiceUnavailable",
    "store_unavailable": "ServiceUnavailable",
    "task_timed_out": "TaskTimedOut",
}
AWS_STATUS = {"ServiceUnavailable": 503, "InternalFailure": 500}  # everything else is 400, as Step Functions has it
AWS_ABSENT = {
    "state machine": ("StateMachineDoesNotExist", "State Machine Does Not Exist"),
    "execution": ("ExecutionDoesNotExist", "Execution Does Not Exist"),
    "activity": ("ActivityDoesNotExist", "Activity Does Not Exist"),
}
AWS_TEXTS = {InvalidToken: "Invalid Token: 'Invalid token'", TaskTokenTimedOut: "Task Timed Out: 'Provided task does not exist anymore'"}


class AwsAnswer(NamedTuple):
    """An error as the AWS surface tells it."""

    code: str
    message: str
    status: int


def aws_answer(error: FlowRunnerError) -> AwsAnswer:
    """Return the AWS error for one of ours."""
    if isinstance(error, NotFound):
        code, words = AWS_ABSENT.get(error.kind, ("ResourceNotFound", "Resource not found"))
        return AwsAnswer(code, f"{words}: '{error.name}'", 400)
    code = AWS_CODES.get(error.code, "InternalFailure")
    status = AWS_STATUS.get(code, 400)
    if status >= 500:
        return AwsAnswer(code, AWAY if isinstance(error, StoreUnavailable) else HIDDEN, status)
    return AwsAnswer(code, AWS_TEXTS.get(type(error), error.message), status)
