"""Operations on activities, and those of the workers who do their tasks and answer task tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.api.aws.faults import AwsFault, invalid_name, no_activity
from flowrunner.api.aws.pages import page_position, page_token
from flowrunner.api.aws.service import DEFAULT_PAGE, MILLISECONDS, Answer, Request, Service
from flowrunner.api.aws.tagging import tags_of
from flowrunner.api.aws.texts import json_fault
from flowrunner.ids import activity_arn, is_name
from flowrunner.ports.definitions import Activity

if TYPE_CHECKING:
    from flowrunner.identity.principal import Principal

AWS_KEY = {"type": "AWS_OWNED_KEY"}
NO_TASK: Answer = b'{"taskToken":null}'  # API reference, GetActivityTask: "a taskToken with a null string"


async def create_activity(service: Service, caller: Principal, request: Request) -> Answer:
    """CreateActivity: creating it again answers like the first time."""
    name = request["name"]
    if not is_name(name):
        raise invalid_name(name)
    encryption = request.get("encryptionConfiguration") or AWS_KEY
    if encryption["type"] != "AWS_OWNED_KEY":
        raise AwsFault("InvalidEncryptionConfiguration", "Invalid Encryption Configuration: customer managed keys are not supported.")
    activity = await service.store.definitions.create_activity(
        Activity(
            account=caller.account,
            name=name,
            created_at=service.clock.now(),
            tags=tags_of(request.get("tags")),
            settings={"encryptionConfiguration": AWS_KEY},
        )
    )
    return {"activityArn": activity_arn(service.region, caller.account, name), "creationDate": activity.created_at / MILLISECONDS}


async def _activity(service: Service, caller: Principal, text: str, action: str) -> Activity:
    arn = service.own_arn(caller, text, ("activity",), action, no_activity)
    activity = await service.store.definitions.activity(arn.account, arn.name)
    if activity is None:
        raise no_activity(text)
    return activity


async def describe_activity(service: Service, caller: Principal, request: Request) -> Answer:
    """DescribeActivity."""
    activity = await _activity(service, caller, request["activityArn"], "DescribeActivity")
    return {
        "activityArn": request["activityArn"],
        "name": activity.name,
        "creationDate": activity.created_at / MILLISECONDS,
        "encryptionConfiguration": activity.settings.get("encryptionConfiguration", AWS_KEY),
    }


async def delete_activity(service: Service, caller: Principal, request: Request) -> Answer:
    """DeleteActivity: deleting what is not there is no error."""
    arn = service.own_arn(caller, request["activityArn"], ("activity",), "DeleteActivity", no_activity)
    await service.store.definitions.delete_activity(arn.account, arn.name)
    return {}


async def list_activities(service: Service, caller: Principal, request: Request) -> Answer:
    """ListActivities, by name."""
    limit = request.get("maxResults") or DEFAULT_PAGE
    position = page_position(request.get("nextToken"), "activities", str)
    activities = await service.store.definitions.activities(caller.account, limit=limit + 1, after=position[0] if position else None)
    answer: dict[str, Any] = {
        "activities": [
            {
                "activityArn": activity_arn(service.region, activity.account, activity.name),
                "name": activity.name,
                "creationDate": activity.created_at / MILLISECONDS,
            }
            for activity in activities[:limit]
        ]
    }
    if len(activities) > limit:
        answer["nextToken"] = page_token("activities", activities[limit - 1].name)
    return answer


async def get_activity_task(service: Service, caller: Principal, request: Request) -> Answer:
    """GetActivityTask: waits for a task; an empty answer if none came."""
    arn = request["activityArn"]
    await _activity(service, caller, arn, "GetActivityTask")
    task = await service.engine.next_activity_task(arn, worker=request.get("workerName"), wait_seconds=service.activity_poll_seconds)
    return NO_TASK if task is None else {"taskToken": task[0], "input": task[1]}


async def send_task_success(service: Service, caller: Principal, request: Request) -> Answer:
    """SendTaskSuccess."""
    fault = json_fault(request["output"])
    if fault is not None:
        raise AwsFault("InvalidOutput", f"Invalid Output: '{fault or 'Invalid output.'}'")
    await service.engine.answer(request["taskToken"], account=caller.account, output=request["output"])
    return {}


async def send_task_failure(service: Service, caller: Principal, request: Request) -> Answer:
    """SendTaskFailure."""
    await service.engine.answer(request["taskToken"], account=caller.account, error=request.get("error"), cause=request.get("cause"))
    return {}


async def send_task_heartbeat(service: Service, caller: Principal, request: Request) -> Answer:
    """SendTaskHeartbeat."""
    await service.engine.heartbeat(request["taskToken"], account=caller.account)
    return {}
