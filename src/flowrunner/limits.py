"""Every quota: its number, unit and source. Two profiles: ``aws`` (what Step Functions allows) and ``open``.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace

KIB = 1024
MIB = 1024 * KIB
MAX_CAUSE_CHARACTERS = 32_768  # AWS: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
MAX_ERROR_CHARACTERS = 256  # as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One profile. Sizes are bytes of UTF-8; 0 means no limit."""

    name: str
    payload_bytes: int  # of an input, an output or the variables of one Assign
    variable_bytes: int  # of all variables of an execution: https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html
    history_events: int
    definition_bytes: int = 1 * MIB
    request_bytes: int = 1 * MIB
    name_characters: int = 80
    transitions_per_step: int = 250  # ours: one step of pure states is cut here, so that no step holds the event loop long
    inline_map_concurrency: int = 40

    def of_flows(self) -> Limits:
        """The limits of flows and workflows, which are no format of AWS: what scripts may return (1 MiB) accumulates, and pools have many items.

        A history still has an end where there is one: a circle of nodes that nothing leaves would fill the store.
        """
        return replace(
            self,
            payload_bytes=_at_least(self.payload_bytes, 4 * MIB),
            variable_bytes=_at_least(self.variable_bytes, 16 * MIB),
            history_events=_at_least(self.history_events, 1_000_000),
            inline_map_concurrency=max(self.inline_map_concurrency, 1000),
        )


def _at_least(limit: int, least: int) -> int:
    return max(limit, least) if limit else 0


AWS = Limits(name="aws", payload_bytes=256 * KIB, variable_bytes=10 * MIB, history_events=25_000)
OPEN = Limits(name="open", payload_bytes=16 * MIB, variable_bytes=64 * MIB, history_events=0, definition_bytes=8 * MIB, request_bytes=64 * MIB)
PROFILES = {profile.name: profile for profile in (AWS, OPEN)}


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `bucket` requests at once, `per_second` more each second."""

    bucket: int
    per_second: float


# Requests of an account, by operation: the quotas of the larger regions (US East (N. Virginia), US West (Oregon), Europe (Ireland)).
# StartSyncExecution has none. StartExecution has that of standard workflows, also for express ones, which AWS gives 6,000 / 6,000.
AWS_RATES = {
    "CreateActivity": Rate(100, 1),
    "CreateStateMachine": Rate(100, 1),
    "CreateStateMachineAlias": Rate(100, 1),
    "DeleteActivity": Rate(100, 1),
    "DeleteStateMachine": Rate(100, 1),
    "DeleteStateMachineAlias": Rate(100, 1),
    "DeleteStateMachineVersion": Rate(100, 1),
    "DescribeActivity": Rate(200, 1),
    "DescribeExecution": Rate(300, 15),
    "DescribeMapRun": Rate(200, 1),
    "DescribeStateMachine": Rate(200, 20),
    "DescribeStateMachineAlias": Rate(200, 1),
    "DescribeStateMachineForExecution": Rate(200, 1),
    "GetActivityTask": Rate(3000, 500),
    "GetExecutionHistory": Rate(400, 20),
    "ListActivities": Rate(100, 10),
    "ListExecutions": Rate(200, 5),
    "ListMapRuns": Rate(100, 1),
    "ListStateMachineAliases": Rate(100, 1),
    "ListStateMachineVersions": Rate(100, 1),
    "ListStateMachines": Rate(100, 5),
    "ListTagsForResource": Rate(100, 1),
    "PublishStateMachineVersion": Rate(100, 1),
    "RedriveExecution": Rate(1300, 300),
    "SendTaskFailure": Rate(3000, 500),
    "SendTaskHeartbeat": Rate(3000, 500),
    "SendTaskSuccess": Rate(3000, 500),
    "StartExecution": Rate(1300, 300),
    "StopExecution": Rate(1000, 200),
    "TagResource": Rate(200, 1),
    "TestState": Rate(50, 10),
    "UntagResource": Rate(200, 1),
    "UpdateMapRun": Rate(100, 1),
    "UpdateStateMachine": Rate(100, 1),
    "UpdateStateMachineAlias": Rate(100, 1),
    "ValidateStateMachineDefinition": Rate(100, 1),
}
