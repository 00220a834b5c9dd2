"""What the AWS surface answers instead of a result: a code of Step Functions, its text and its HTTP status."""

from __future__ import annotations

from flowrunner.errors import FlowRunnerError

MODEL = "com.amazonaws.swf.service.v2.model"  # the namespace of Step Functions' own errors on the wire
SERVICE = "com.amazon.coral.service"  # of those that every AWS service has
VALIDATION = "com.amazon.coral.validate"
AVAILABILITY = "com.amazon.coral.availability"
COMMON = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InternalFailure",
        "InvalidSignatureException",
        "MissingAction",
        "MissingAuthenticationTokenException",
        "RequestEntityTooLargeException",
        "SerializationException",
        "ServiceUnavailable",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "UnsupportedOperation",
    }
)


class AwsFault(FlowRunnerError):
    """The request cannot be answered."""

    code = "aws_fault"
    fault = "caller"
    status = 400

    def __init__(self, aws_code: str, message: str, *, status: int = 400, retry_after: int | None = None) -> None:
        self.aws_code = aws_code
        self.http_status = status
        self.retry_after = retry_after  # seconds
        super().__init__(message)


def wire_type(aws_code: str) -> str:
    """The value of ``__type``: SDKs look at what follows the ``#``."""
    if aws_code == "ValidationException":
        return f"{VALIDATION}#{aws_code}"
    if aws_code == "ThrottlingException":
        return f"{AVAILABILITY}#{aws_code}"
    return f"{SERVICE if aws_code in COMMON else MODEL}#{aws_code}"


def validation(message: str) -> AwsFault:
    """The request breaks a rule of its operation."""
    return AwsFault("ValidationException", message)


def invalid_arn(detail: str) -> AwsFault:
    """Not an ARN, or not of the kind this operation takes."""
    return AwsFault("InvalidArn", f"Invalid Arn: '{detail}'")


def invalid_name(name: str) -> AwsFault:
    """A name with characters that Step Functions does not take."""
    return AwsFault("InvalidName", f"Invalid Name: '{name}'")


def invalid_page_token() -> AwsFault:
    """A nextToken that no earlier answer to the same request gave."""
    return AwsFault("InvalidToken", "Invalid Token: 'Invalid token'")


def no_machine(arn: str) -> AwsFault:
    """There is no such state machine."""
    return AwsFault("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


def no_execution(arn: str) -> AwsFault:
    """There is no such execution."""
    return AwsFault("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


def no_activity(arn: str) -> AwsFault:
    """There is no such activity."""
    return AwsFault("ActivityDoesNotExist", f"Activity Does Not Exist: '{arn}'")


def no_resource(arn: str) -> AwsFault:
    """There is nothing of this ARN that could have tags."""
    return AwsFault("ResourceNotFound", f"Resource not found: '{arn}'")


def wrong_machine_type() -> AwsFault:
    """The operation exists for the other type of state machine only."""
    return AwsFault("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")


def unsupported(what: str) -> AwsFault:
    """Something Step Functions has and this version has not: told, never passed over."""
    return AwsFault("UnsupportedOperation", f"This version of FlowRunner does not support {what}.")
