"""Errors are translated once for AWS SDKs."""

from __future__ import annotations

import pytest

from flowrunner.api.answer import AWAY, HIDDEN, aws_answer
from flowrunner.errors import (
    AccessDenied,
    Conflict,
    Fenced,
    FlowRunnerError,
    InvalidDefinition,
    InvalidToken,
    LimitExceeded,
    NotFound,
    StoreRefused,
    StoreUnavailable,
    TaskTokenTimedOut,
)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (NotFound("state machine", "arn"), ("StateMachineDoesNotExist", "State Machine Does Not Exist: 'arn'", 400)),
        (NotFound("execution", "arn"), ("ExecutionDoesNotExist", "Execution Does Not Exist: 'arn'", 400)),
        (NotFound("activity", "arn"), ("ActivityDoesNotExist", "Activity Does Not Exist: 'arn'", 400)),
        (NotFound("revision", "arn"), ("ResourceNotFound", "Resource not found: 'arn'", 400)),
        (Conflict("taken"), ("ConflictException", "taken", 400)),
        (InvalidDefinition("bad"), ("InvalidDefinition", "bad", 400)),
        (InvalidToken(), ("InvalidToken", "Invalid Token: 'Invalid token'", 400)),
        (TaskTokenTimedOut(), ("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'", 400)),
        (LimitExceeded("big"), ("ValidationException", "big", 400)),
        (AccessDenied("no"), ("AccessDeniedException", "no", 400)),
        (StoreUnavailable("host"), ("ServiceUnavailable", AWAY, 503)),
        (Fenced("node"), ("ServiceUnavailable", HIDDEN, 503)),
        (StoreRefused("file"), ("InternalFailure", HIDDEN, 500)),
        (FlowRunnerError("bug"), ("InternalFailure", HIDDEN, 500)),
    ],
)
def test_aws_answer(error, answer):
    """Every error has a code that SDKs know; the server's own troubles are not told."""
    assert aws_answer(error) == answer
