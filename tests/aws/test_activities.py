"""Activities over the AWS API, and the workers who take their tasks and answer tokens."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from awscaller import ACCOUNT, REGION

ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:activity:work"
TASK = orjson.dumps({"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": ARN, "End": True}}}).decode()
INVALID_TOKEN = ("InvalidToken", "Invalid Token: 'Invalid token'")


@pytest.fixture
async def started(aws):
    """The ARN of an execution that waits for a worker."""
    await aws("CreateActivity", name="work")
    machine = await aws.machine(definition=TASK)
    return (await aws("StartExecution", stateMachineArn=machine, input='{"a":1}'))["executionArn"]


async def test_life_of_an_activity(aws):
    """Created twice it is one; described, listed, deleted twice."""
    created = await aws("CreateActivity", name="work")
    assert created == {"activityArn": ARN, "creationDate": created["creationDate"]}
    assert await aws("CreateActivity", name="work", tags=[{"key": "k", "value": "v"}]) == created
    described = await aws("DescribeActivity", activityArn=ARN)
    assert described == {**created, "name": "work", "encryptionConfiguration": {"type": "AWS_OWNED_KEY"}}
    assert (await aws("ListActivities"))["activities"] == [{**created, "name": "work"}]
    for _ in range(2):
        assert await aws("DeleteActivity", activityArn=ARN) == {}
    for operation in ("DescribeActivity", "GetActivityTask"):
        assert await aws.refused(operation, activityArn=ARN) == ("ActivityDoesNotExist", f"Activity Does Not Exist: '{ARN}'")


@pytest.mark.parametrize("name", ["a:b", "a b", "a/b", "a\x1f", "a\x7f", "a*", "a{", 'a"', "a#"])
async def test_invalid_name(aws, name):
    """Names with such characters are refused."""
    assert await aws.refused("CreateActivity", name=name) == ("InvalidName", f"Invalid Name: '{name}'")


async def test_list_in_pages(aws):
    """Pages hold everything once."""
    for name in "abc":
        await aws("CreateActivity", name=name)
    page = await aws("ListActivities", maxResults=2)
    rest = await aws("ListActivities", maxResults=2, nextToken=page["nextToken"])
    assert [activity["name"] for activity in page["activities"] + rest["activities"]] == ["a", "b", "c"]


async def test_workers_get_no_tasks_of_other_accounts(aws, started):
    """A task for the activity of another account waits like one that nobody works on: the workers there are not given it, before or after their own."""
    other = "111111111111"
    aws.headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={other}/20261121/{REGION}/states/aws4_request"
    machine = await aws.machine(definition=TASK)
    foreign = [(await aws("StartExecution", stateMachineArn=machine, input='{"for":"others"}'))["executionArn"] for _ in range(2)]
    del aws.headers["authorization"]
    task = await aws("GetActivityTask", activityArn=ARN)
    assert task["input"] == '{"a":1}'
    assert await aws("GetActivityTask", activityArn=ARN) == {"taskToken": None}
    await aws("SendTaskSuccess", taskToken=task["taskToken"], output="1")
    await aws.ended(started)
    aws.headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={other}/20261121/{REGION}/states/aws4_request"
    for execution in foreign:
        events = (await aws("GetExecutionHistory", executionArn=execution))["events"]
        assert [event["type"] for event in events] == ["ExecutionStarted", "TaskStateEntered", "ActivityScheduled"]
        await aws("StopExecution", executionArn=execution)
        assert (await aws("DescribeExecution", executionArn=execution))["status"] == "ABORTED"


async def test_worker_succeeds(aws, started):
    """A worker gets the input and a token; its output is the execution's."""
    task = await aws("GetActivityTask", activityArn=ARN, workerName="w")
    assert task["input"] == '{"a":1}'
    assert await aws("SendTaskHeartbeat", taskToken=task["taskToken"]) == {}
    assert (await aws.refused("SendTaskSuccess", taskToken=task["taskToken"], output="{"))[0] == "InvalidOutput"
    assert await aws("SendTaskSuccess", taskToken=task["taskToken"], output='"done"') == {}
    assert (await aws.ended(started))["output"] == '"done"'
    timed_out = ("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    assert await aws.refused("SendTaskSuccess", taskToken=task["taskToken"], output="1") in (timed_out, INVALID_TOKEN)


async def test_worker_fails(aws, started):
    """A worker's failure is the execution's."""
    task = await aws("GetActivityTask", activityArn=ARN)
    await aws("SendTaskFailure", taskToken=task["taskToken"], error="E", cause="C")
    ended = await aws.ended(started)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "E", "C")


async def test_no_token(aws):
    """A made-up token is refused."""
    assert await aws.refused("SendTaskSuccess", taskToken="x", output="1") == INVALID_TOKEN
    assert await aws.refused("SendTaskFailure", taskToken="x") == INVALID_TOKEN
    assert await aws.refused("SendTaskHeartbeat", taskToken="x") == INVALID_TOKEN


async def test_nothing_to_do(aws):
    """A worker that waited in vain gets a null token."""
    await aws("CreateActivity", name="work")
    assert await aws("GetActivityTask", activityArn=ARN) == {"taskToken": None}


async def test_worker_that_leaves_takes_no_task(aws):
    """A task that opens after a waiting worker hung up is there for the next one."""
    aws.service.activity_poll_seconds = 30
    await aws("CreateActivity", name="work")
    machine = await aws.machine(definition=TASK)
    gone = asyncio.Event()
    request = orjson.dumps({"activityArn": ARN})
    waiting = asyncio.ensure_future(aws.raw(request, {"x-amz-target": "AWSStepFunctions.GetActivityTask"}, gone=gone))
    await asyncio.sleep(0.01)
    gone.set()
    assert await asyncio.wait_for(waiting, 5) is None
    await aws("StartExecution", stateMachineArn=machine)
    assert (await aws("GetActivityTask", activityArn=ARN))["taskToken"]
