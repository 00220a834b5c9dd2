"""Which function carries out which operation. What is in OPERATIONS but not here is not in this version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrunner.api.aws import activities, executions, history, machines, tagging, validation

if TYPE_CHECKING:
    from flowrunner.api.aws.service import Handler

HANDLERS: dict[str, Handler] = {
    "CreateActivity": activities.create_activity,
    "CreateStateMachine": machines.create_state_machine,
    "DeleteActivity": activities.delete_activity,
    "DeleteStateMachine": machines.delete_state_machine,
    "DescribeActivity": activities.describe_activity,
    "DescribeExecution": executions.describe_execution,
    "DescribeStateMachine": machines.describe_state_machine,
    "DescribeStateMachineForExecution": machines.describe_state_machine_for_execution,
    "GetActivityTask": activities.get_activity_task,
    "GetExecutionHistory": history.get_execution_history,
    "ListActivities": activities.list_activities,
    "ListExecutions": executions.list_executions,
    "ListStateMachines": machines.list_state_machines,
    "ListTagsForResource": tagging.list_tags_for_resource,
    "SendTaskFailure": activities.send_task_failure,
    "SendTaskHeartbeat": activities.send_task_heartbeat,
    "SendTaskSuccess": activities.send_task_success,
    "StartExecution": executions.start_execution,
    "StartSyncExecution": executions.start_sync_execution,
    "StopExecution": executions.stop_execution,
    "TagResource": tagging.tag_resource,
    "UntagResource": tagging.untag_resource,
    "UpdateStateMachine": machines.update_state_machine,
    "ValidateStateMachineDefinition": validation.validate_state_machine_definition,
}
