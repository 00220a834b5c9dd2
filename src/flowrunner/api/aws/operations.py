"""Every operation of Step Functions: what it takes, which errors it has, which permission it needs.

Source: the service model ``stepfunctions/2016-11-23``; enumerations in the order in which AWS's messages list them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowrunner.api.aws.shapes import Flag, Items, Number, Parts, Shape, Text
from flowrunner.identity.permissions import Permission

ARN = Text(shortest=1, longest=256)
LONG_ARN = Text(shortest=1, longest=2000)
NAME = Text(shortest=1, longest=80)
DEFINITION = Text(shortest=1, longest=1_048_576, sensitive=True, measure="definition_bytes")
DATA = Text(longest=262_144, sensitive=True, measure="payload_bytes")
ERROR = Text(longest=256, sensitive=True)
CAUSE = Text(longest=32_768, sensitive=True)
DESCRIPTION = Text(longest=256, sensitive=True)
MACHINE_TYPE = Text(values=("STANDARD", "EXPRESS"))
INCLUDED_DATA = Text(values=("ALL_DATA", "METADATA_ONLY"))
STATUS = Text(values=("SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING"))
TASK_TOKEN = Text(shortest=1, longest=2048, sensitive=True)
TRACE_HEADER = Text(longest=256, pattern=r"\p{ASCII}*")
FLAG = Flag()
PAGE_SIZE = Number(least=0, most=1000)
PAGE_TOKEN = Text(shortest=1, longest=1024)
PAGES: dict[str, Shape] = {"maxResults": PAGE_SIZE, "nextToken": PAGE_TOKEN}
TAG_KEY = Text(shortest=1, longest=128)
TAGS = Items(item=Parts({"key": TAG_KEY, "value": Text(longest=256)}))
ENCRYPTION = Parts(
    {
        "kmsKeyId": Text(shortest=1, longest=2048),
        "kmsDataKeyReusePeriodSeconds": Number(least=60, most=900),
        "type": Text(values=("AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY")),
    },
    ("type",),
)
LOGGING = Parts(
    {
        "level": Text(values=("ALL", "ERROR", "FATAL", "OFF")),
        "includeExecutionData": FLAG,
        "destinations": Items(item=Parts({"cloudWatchLogsLogGroup": Parts({"logGroupArn": ARN})})),
    }
)
TRACING = Parts({"enabled": FLAG})
ROUTING = Items(item=Parts({"stateMachineVersionArn": ARN, "weight": Number(least=0, most=100)}, ("stateMachineVersionArn", "weight")), fewest=1, most=2)
ALIAS_NAME = Text(shortest=1, longest=80, pattern=r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$")
CONFIGURATIONS: dict[str, Shape] = {
    "loggingConfiguration": LOGGING,
    "tracingConfiguration": TRACING,
    "publish": FLAG,
    "versionDescription": DESCRIPTION,
    "encryptionConfiguration": ENCRYPTION,
}
MOCK = Parts({"result": DATA, "errorOutput": Parts({"error": ERROR, "cause": CAUSE}), "fieldValidationMode": Text(values=("STRICT", "PRESENT", "NONE"))})
STATE_CONFIGURATION = Parts(
    {
        "retrierRetryCount": Number(least=0),
        "errorCausedByState": Text(shortest=1, longest=80, sensitive=True),
        "mapIterationFailureCount": Number(least=0),
        "mapItemReaderData": DATA,
    }
)
TEST_STATE: dict[str, Shape] = {
    "definition": DEFINITION,
    "roleArn": ARN,
    "input": DATA,
    "inspectionLevel": Text(values=("INFO", "DEBUG", "TRACE")),
    "revealSecrets": FLAG,
    "variables": DATA,
    "stateName": Text(shortest=1, longest=80, sensitive=True),
    "mock": MOCK,
    "context": DATA,
    "stateConfiguration": STATE_CONFIGURATION,
}

ENCRYPTION_FAULTS = ("InvalidEncryptionConfiguration", "KmsAccessDeniedException", "KmsThrottlingException")
KMS_FAULTS = ("KmsAccessDeniedException", "KmsInvalidStateException", "KmsThrottlingException")


# Each operation needs exactly one permission; one that is not listed here cannot be declared.
_PERMISSIONS: Mapping[str, Permission] = {
    name: permission
    for permission, names in {
        Permission.MACHINES_WRITE: "CreateActivity CreateStateMachine CreateStateMachineAlias DeleteActivity DeleteStateMachine DeleteStateMachineAlias DeleteStateMachineVersion PublishStateMachineVersion TagResource UntagResource UpdateStateMachine UpdateStateMachineAlias",
        Permission.MACHINES_READ: "DescribeActivity DescribeStateMachine DescribeStateMachineAlias ListActivities ListStateMachineAliases ListStateMachineVersions ListStateMachines ListTagsForResource ValidateStateMachineDefinition",
        Permission.EXECUTIONS_READ: "DescribeExecution DescribeMapRun DescribeStateMachineForExecution GetExecutionHistory ListExecutions ListMapRuns",
        Permission.TASKS_WORK: "GetActivityTask SendTaskFailure SendTaskHeartbeat SendTaskSuccess",
        Permission.EXECUTIONS_START: "RedriveExecution StartExecution StartSyncExecution TestState",
        Permission.EXECUTIONS_STOP: "StopExecution UpdateMapRun",
    }.items()
    for name in names.split()
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `long` ones may keep the caller waiting: they end when the caller goes away."""

    name: str
    request: Parts
    errors: tuple[str, ...]
    long: bool = False

    @property
    def action(self) -> str:
        """What it is called by IAM."""
        return f"states:{self.name}"

    @property
    def permission(self) -> Permission:
        """What the caller must be allowed."""
        return _PERMISSIONS[self.name]

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that it may be sent again. TestState carries out a state; GetActivityTask hands out a task."""
        return self.name.startswith(("Describe", "List")) or self.name in {"GetExecutionHistory", "ValidateStateMachineDefinition"}


def _operation(name: str, members: dict[str, Shape], required: str = "", errors: str = "", more: tuple[str, ...] = (), *, long: bool = False) -> Operation:
    return Operation(name, Parts(members, tuple(required.split())), (*errors.split(), *more), long)


_ALL = (
    _operation(
        "CreateActivity", {"name": NAME, "tags": TAGS, "encryptionConfiguration": ENCRYPTION}, "name",
        "ActivityLimitExceeded ActivityAlreadyExists InvalidName TooManyTags", ENCRYPTION_FAULTS,
    ),
    _operation(
        "CreateStateMachine",
        {"name": NAME, "definition": DEFINITION, "roleArn": ARN, "type": MACHINE_TYPE, "tags": TAGS, **CONFIGURATIONS},
        "name definition roleArn",
        "InvalidArn InvalidDefinition InvalidName InvalidLoggingConfiguration InvalidTracingConfiguration StateMachineAlreadyExists StateMachineDeleting"
        " StateMachineLimitExceeded StateMachineTypeNotSupported TooManyTags ValidationException ConflictException", ENCRYPTION_FAULTS,
    ),
    _operation(
        "CreateStateMachineAlias", {"description": DESCRIPTION, "name": ALIAS_NAME, "routingConfiguration": ROUTING}, "name routingConfiguration",
        "InvalidArn InvalidName ValidationException StateMachineDeleting ResourceNotFound ConflictException ServiceQuotaExceededException",
    ),
    _operation("DeleteActivity", {"activityArn": ARN}, "activityArn", "InvalidArn"),
    _operation("DeleteStateMachine", {"stateMachineArn": ARN}, "stateMachineArn", "InvalidArn ValidationException"),
    _operation(
        "DeleteStateMachineAlias", {"stateMachineAliasArn": ARN}, "stateMachineAliasArn", "ValidationException InvalidArn ResourceNotFound ConflictException"
    ),
    _operation("DeleteStateMachineVersion", {"stateMachineVersionArn": LONG_ARN}, "stateMachineVersionArn", "ValidationException InvalidArn ConflictException"),
    _operation("DescribeActivity", {"activityArn": ARN}, "activityArn", "ActivityDoesNotExist InvalidArn"),
    _operation(
        "DescribeExecution", {"executionArn": ARN, "includedData": INCLUDED_DATA}, "executionArn", "ExecutionDoesNotExist InvalidArn", KMS_FAULTS
    ),
    _operation("DescribeMapRun", {"mapRunArn": LONG_ARN}, "mapRunArn", "ResourceNotFound InvalidArn"),
    _operation(
        "DescribeStateMachine", {"stateMachineArn": ARN, "includedData": INCLUDED_DATA}, "stateMachineArn", "InvalidArn StateMachineDoesNotExist", KMS_FAULTS
    ),
    _operation("DescribeStateMachineAlias", {"stateMachineAliasArn": ARN}, "stateMachineAliasArn", "ValidationException InvalidArn ResourceNotFound"),
    _operation(
        "DescribeStateMachineForExecution", {"executionArn": ARN, "includedData": INCLUDED_DATA}, "executionArn",
        "ExecutionDoesNotExist InvalidArn", KMS_FAULTS,
    ),
    _operation(
        "GetActivityTask", {"activityArn": ARN, "workerName": NAME}, "activityArn",
        "ActivityDoesNotExist ActivityWorkerLimitExceeded InvalidArn", KMS_FAULTS, long=True,
    ),
    _operation(
        "GetExecutionHistory", {"executionArn": ARN, **PAGES, "reverseOrder": FLAG, "includeExecutionData": FLAG}, "executionArn",
        "ExecutionDoesNotExist InvalidArn InvalidToken", KMS_FAULTS,
    ),
    _operation("ListActivities", PAGES, "", "InvalidToken"),
    _operation(
        "ListExecutions",
        {
            "stateMachineArn": ARN, "statusFilter": STATUS, "maxResults": PAGE_SIZE, "nextToken": Text(shortest=1, longest=3096),
            "mapRunArn": LONG_ARN, "redriveFilter": Text(values=("REDRIVEN", "NOT_REDRIVEN")),
        }, "",
        "InvalidArn InvalidToken StateMachineDoesNotExist StateMachineTypeNotSupported ValidationException ResourceNotFound",
    ),
    _operation("ListMapRuns", {"executionArn": ARN, **PAGES}, "executionArn", "ExecutionDoesNotExist InvalidArn InvalidToken"),
    _operation(
        "ListStateMachineAliases", {"stateMachineArn": ARN, **PAGES}, "stateMachineArn",
        "InvalidArn InvalidToken ResourceNotFound StateMachineDoesNotExist StateMachineDeleting",
    ),
    _operation("ListStateMachineVersions", {"stateMachineArn": ARN, **PAGES}, "stateMachineArn", "ValidationException InvalidArn InvalidToken"),
    _operation("ListStateMachines", PAGES, "", "InvalidToken"),
    _operation("ListTagsForResource", {"resourceArn": ARN}, "resourceArn", "InvalidArn ResourceNotFound"),
    _operation(
        "PublishStateMachineVersion", {"stateMachineArn": ARN, "revisionId": Text(), "description": DESCRIPTION}, "stateMachineArn",
        "ValidationException StateMachineDeleting StateMachineDoesNotExist ServiceQuotaExceededException ConflictException InvalidArn",
    ),
    _operation(
        "RedriveExecution", {"executionArn": ARN, "clientToken": Text(shortest=1, longest=64, pattern="[!-~]+")}, "executionArn",
        "ExecutionDoesNotExist ExecutionNotRedrivable ExecutionLimitExceeded InvalidArn ValidationException",
    ),
    _operation("SendTaskFailure", {"taskToken": TASK_TOKEN, "error": ERROR, "cause": CAUSE}, "taskToken", "TaskDoesNotExist InvalidToken TaskTimedOut", KMS_FAULTS),
    _operation("SendTaskHeartbeat", {"taskToken": TASK_TOKEN}, "taskToken", "TaskDoesNotExist InvalidToken TaskTimedOut"),
    _operation(
        "SendTaskSuccess", {"taskToken": TASK_TOKEN, "output": DATA}, "taskToken output",
        "TaskDoesNotExist InvalidOutput InvalidToken TaskTimedOut", KMS_FAULTS,
    ),
    _operation(
        "StartExecution", {"stateMachineArn": ARN, "name": NAME, "input": DATA, "traceHeader": TRACE_HEADER}, "stateMachineArn",
        "ExecutionLimitExceeded ExecutionAlreadyExists InvalidArn InvalidExecutionInput InvalidName StateMachineDoesNotExist StateMachineDeleting"
        " ValidationException", KMS_FAULTS,
    ),
    _operation(
        "StartSyncExecution", {"stateMachineArn": ARN, "name": NAME, "input": DATA, "traceHeader": TRACE_HEADER, "includedData": INCLUDED_DATA},
        "stateMachineArn",
        "InvalidArn InvalidExecutionInput InvalidName StateMachineDoesNotExist StateMachineDeleting StateMachineTypeNotSupported", KMS_FAULTS,
    ),
    _operation(
        "StopExecution", {"executionArn": ARN, "error": ERROR, "cause": CAUSE}, "executionArn",
        "ExecutionDoesNotExist InvalidArn ValidationException", KMS_FAULTS,
    ),
    _operation("TagResource", {"resourceArn": ARN, "tags": TAGS}, "resourceArn tags", "InvalidArn ResourceNotFound TooManyTags"),
    _operation("TestState", TEST_STATE, "definition", "InvalidArn InvalidDefinition InvalidExecutionInput ValidationException"),
    _operation("UntagResource", {"resourceArn": ARN, "tagKeys": Items(item=TAG_KEY)}, "resourceArn tagKeys", "InvalidArn ResourceNotFound"),
    _operation(
        "UpdateMapRun",
        {
            "mapRunArn": LONG_ARN, "maxConcurrency": Number(least=0), "toleratedFailurePercentage": Number(least=0, most=100, fractions=True),
            "toleratedFailureCount": Number(least=0),
        }, "mapRunArn",
        "ResourceNotFound InvalidArn ValidationException",
    ),
    _operation(
        "UpdateStateMachine", {"stateMachineArn": ARN, "definition": DEFINITION, "roleArn": ARN, **CONFIGURATIONS}, "stateMachineArn",
        "InvalidArn InvalidDefinition InvalidLoggingConfiguration InvalidTracingConfiguration MissingRequiredParameter StateMachineDeleting"
        " StateMachineDoesNotExist ServiceQuotaExceededException ConflictException ValidationException", ENCRYPTION_FAULTS,
    ),
    _operation(
        "UpdateStateMachineAlias", {"stateMachineAliasArn": ARN, "description": DESCRIPTION, "routingConfiguration": ROUTING}, "stateMachineAliasArn",
        "ValidationException InvalidArn ResourceNotFound ConflictException StateMachineDeleting",
    ),
    _operation(
        "ValidateStateMachineDefinition",
        {"definition": DEFINITION, "type": MACHINE_TYPE, "severity": Text(values=("ERROR", "WARNING")), "maxResults": Number(least=0, most=100)},
        "definition", "ValidationException",
    ),
)  # fmt: skip

OPERATIONS = {operation.name: operation for operation in _ALL}
