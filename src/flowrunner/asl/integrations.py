"""Which resources a Task may name: the integrations of Step Functions and what an Express workflow may not use.

Source: Step Functions Developer Guide, "Integrating services" (table of optimised integrations, checked 2026-11), and
AWS's recorded refusals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RUN, _SYNC, _TOKEN = "", ".sync", ".waitForTaskToken"
_JOB = frozenset({_RUN, _SYNC})
_ASK = frozenset({_RUN, _TOKEN})
_ALL = frozenset({_RUN, _SYNC, _TOKEN})
_CALL = frozenset({_RUN})

INTEGRATIONS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "apigateway": {"invoke": _ASK},
    "athena": {"startQueryExecution": _JOB, "stopQueryExecution": _CALL, "getQueryExecution": _CALL, "getQueryResults": _CALL},
    "batch": {"submitJob": _JOB},
    "bedrock": {"invokeModel": _ALL, "createModelCustomizationJob": _JOB},
    "codebuild": {"startBuild": _JOB, "startBuildBatch": _JOB, "stopBuild": _CALL, "stopBuildBatch": _CALL, "retryBuild": _CALL,
                  "retryBuildBatch": _JOB, "batchDeleteBuilds": _CALL, "batchGetReports": _CALL},
    "databrew": {"startJobRun": _JOB},
    "dynamodb": {"getItem": _CALL, "putItem": _CALL, "deleteItem": _CALL, "updateItem": _CALL},
    "ecs": {"runTask": _ALL},
    "eks": {"runJob": _ALL, "call": _CALL, "createCluster": _JOB, "deleteCluster": _JOB, "createNodegroup": _JOB, "deleteNodegroup": _JOB,
            "createFargateProfile": _JOB, "deleteFargateProfile": _JOB, "createAddon": _CALL, "deleteAddon": _CALL},
    "elasticmapreduce": {"createCluster": _JOB, "terminateCluster": _JOB, "addStep": _JOB, "cancelStep": _CALL,
                         "setClusterTerminationProtection": _CALL, "modifyInstanceFleetByName": _CALL, "modifyInstanceGroupByName": _CALL},
    "emr-containers": {"createVirtualCluster": _CALL, "deleteVirtualCluster": _JOB, "startJobRun": _JOB},
    "emr-serverless": {"createApplication": _JOB, "startApplication": _JOB, "stopApplication": _JOB, "deleteApplication": _JOB,
                       "startJobRun": _JOB, "cancelJobRun": _JOB},
    "events": {"putEvents": _ASK},
    "glue": {"startJobRun": _JOB},
    "http": {"invoke": _CALL},
    "lambda": {"invoke": _ASK},
    "mediaconvert": {"createJob": _JOB},
    "redshift-data": {"executeStatement": _JOB, "batchExecuteStatement": _JOB},
    "sagemaker": {"createTrainingJob": _JOB, "createTransformJob": _JOB, "createModel": _CALL, "createEndpointConfig": _CALL,
                  "createEndpoint": _CALL, "updateEndpoint": _CALL, "createHyperParameterTuningJob": _JOB, "createLabelingJob": _JOB,
                  "createProcessingJob": _JOB},
    "sns": {"publish": _ASK},
    "sqs": {"sendMessage": _ASK},
    "states": {"startExecution": _ALL},
}  # fmt: skip
# What a Map reads from and writes to (ItemReader, ResultWriter).
READERS = re.compile(r"arn:[\w-]+:states:::s3:(?:getObject|listObjectsV2)", re.ASCII)
WRITERS = re.compile(r"arn:[\w-]+:states:::s3:putObject", re.ASCII)

_PATTERNS = r"(?P<pattern>\.sync(?::2)?|\.waitForTaskToken)?"
_INTEGRATION = re.compile(rf"arn:[\w-]+:states:[\w-]*:[\w-]*:(?P<service>[\w-]+):(?P<action>\w+){_PATTERNS}", re.ASCII)
_SDK = re.compile(rf"arn:[\w-]+:states:[\w-]*:[\w-]*:aws-sdk:(?P<service>\w+):(?P<action>\w+){_PATTERNS}", re.ASCII)
_OWN = re.compile(r"arn:[\w-]+:states:[\w-]*:[\w-]*:flowrunner:[\w.-]+", re.ASCII)  # kinds of nodes; which there are is known where they run
_ACTIVITY = re.compile(r"arn:[\w-]+:states:[\w-]+:[\w-]+:activity:[^\s:]{1,80}", re.ASCII)
_FUNCTION = re.compile(r"arn:[\w-]+:lambda:[\w-]*:[\w-]*:function:[\w-]+(?::[\w$-]+)?", re.ASCII)
_OTHER_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s{}]+")
_PLACEHOLDER = re.compile(r"\$\{[\w.-]+\}", re.ASCII)

Refusal = tuple[str, bool]  # message; whether it is an error


def refusal(resource: str, *, express: bool) -> Refusal | None:
    """Why a Task may not name this resource, None when it may.

    URIs outside AWS's own are a warning only: the States Language asks for a URI, and a task handler may be registered
    for any. ``${Name}`` stands for a value that deployment tools put in.
    """
    if _OWN.fullmatch(resource):
        return None
    if _ACTIVITY.fullmatch(resource):
        return ("Express state machine does not support Activity ARN", True) if express else None
    match = _SDK.fullmatch(resource)
    if match is not None:
        known = not (match["pattern"] or "").startswith(".sync")
    else:
        match = _INTEGRATION.fullmatch(resource)
        known = match is not None and _pattern(match) in INTEGRATIONS.get(match["service"], {}).get(match["action"], ())
    if match is not None and known:
        return _express_refusal(match["pattern"] or "") if express else None
    if _FUNCTION.fullmatch(resource):
        return None
    if _PLACEHOLDER.search(resource) and "${" not in _PLACEHOLDER.sub("", resource):
        return "The resource holds a placeholder that was not filled in.", False
    if _OTHER_URI.fullmatch(resource) and not re.match(r"arn:[\w-]*:(states|lambda):", resource):
        return f"The resource {resource} is not one of AWS's; it needs a task handler of its own.", False
    if not resource.startswith("arn:"):
        return "Value is not a valid resource ARN", True
    return (
        f"The resource provided {resource} is not recognized. The value is not a valid resource ARN, or the resource is not available in this region.",
        True,
    )


def _pattern(match: re.Match[str]) -> str:
    """How the integration is called; the second version of ``.sync`` is there for nested executions only."""
    pattern = match["pattern"] or ""
    return pattern.removesuffix(":2") if match["service"] == "states" else pattern


def is_activity(resource: object) -> bool:
    """Whether it names an activity."""
    return isinstance(resource, str) and _ACTIVITY.fullmatch(resource) is not None


def _express_refusal(pattern: str) -> Refusal | None:
    if pattern.startswith(_SYNC):
        return "Express state machine does not support '.sync' service integration", True
    if pattern == _TOKEN:  # AWS's message has a blank at its end
        return "Express state machine does not support '.waitForTaskToken' service integration ", True
    return None
