"""DynamoDB's errors as ours: what is tried again, what a caller is told, what an operator must do.

Nothing here ever repeats a key or a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - of botocore: its connections that fail
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from flowrunner.errors import StoreError, StoreRefused, StoreUnavailable
from flowrunner.stores.dynamodb.values import Item

if TYPE_CHECKING:
    from flowrunner.stores.dynamodb.settings import DynamoSettings

CONDITION_FAILED = "ConditionalCheckFailed"
CONFLICT = "TransactionConflict"

# Worth another try, after a while: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
TRANSIENT = {
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingError",
    "ThrottlingException",
    CONFLICT,
    "TransactionConflictException",
    "TransactionInProgressException",
}

CREDENTIALS = "Look at the credentials of this process: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine."
REMEDIES = {
    "AccessDeniedException": "Allow this principal the dynamodb actions on the table and its indexes (listed in docs: Choose and set up a store).",
    "ExpiredTokenException": "The session token is too old: renew it.",
    "InvalidSignatureException": CREDENTIALS + " The machine's clock may be wrong, too.",
    "MissingAuthenticationTokenException": CREDENTIALS,
    "IncompleteSignatureException": CREDENTIALS,
    "UnrecognizedClientException": CREDENTIALS + " They may belong to another partition of AWS or need a session token.",
    "ResourceNotFoundException": "Look at region and prefix, then restart FlowRunner: it makes the table where there is none.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one action of a transaction failed, and the item that was in its way if the action asked for it."""

    code: str
    item: Item | None


class Cancelled(Exception):
    """The conditions of a transaction did not hold, so nothing was written; a reason per action, in order."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__(", ".join(reason.code for reason in reasons))
        self.reasons = reasons


def code_of(error: Exception) -> str:
    """The code of an error that DynamoDB answered; empty for others."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def reasons_of(error: Exception) -> list[Reason]:
    """Why a transaction was cancelled; nothing for other errors."""
    if not isinstance(error, ClientError) or code_of(error) != "TransactionCanceledException":
        return []
    return [Reason(reason.get("Code") or "None", reason.get("Item")) for reason in error.response.get("CancellationReasons", [])]


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a moment later. Whether it has been done all the same is not known."""
    if isinstance(error, HTTPClientError | ConnectionError | ResponseParserError | OSError | TimeoutError):
        return True
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        codes = {reason.code for reason in reasons_of(error)} - {"None"}
        return code_of(error) in TRANSIENT or status >= 500 or bool(codes and codes <= TRANSIENT)
    return False


def in_doubt(error: Exception) -> bool:
    """Whether a request that may be repeated may have been done all the same: it was answered with 5xx, or not at all."""
    return not isinstance(error, ClientError) or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500


def failure(error: Exception, settings: DynamoSettings) -> StoreError:
    """What to tell the caller of a request that failed for good."""
    code = code_of(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | ProfileNotFound):
        return StoreUnavailable(f"No AWS credentials for {settings.place}.", remedy=CREDENTIALS)
    if code in REMEDIES:
        return StoreUnavailable(f"DynamoDB refuses {settings.place} ({code}).", remedy=REMEDIES[code])
    if isinstance(error, ClientError) and not is_transient(error):
        message = error.response.get("Error", {}).get("Message", "")
        detail = ", ".join(sorted({reason.code for reason in reasons_of(error)} - {"None"})) or message
        return StoreError(f"DynamoDB refused a request for {settings.place} ({code}: {detail}).")
    if isinstance(error, ClientError):
        return StoreUnavailable(f"DynamoDB does not do it now for {settings.place} ({code}).", remedy="It is tried again; raise the table's units if it lasts.")
    return StoreUnavailable(
        f"DynamoDB does not answer for {settings.place} ({type(error).__name__}).",
        remedy="Look at the network, the region and the endpoint; it is tried again.",
    )


def refusal(error: StoreError) -> StoreError:
    """What an operator must put right before a start can succeed; what may pass by itself stays StoreUnavailable."""
    cause = error.__cause__
    hopeless = isinstance(cause, Exception) and not is_transient(cause)
    return StoreRefused(error.message, remedy=error.remedy) if hopeless else error
