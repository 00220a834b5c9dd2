"""Executions over the AWS API: starting, describing, listing, stopping, and their history."""

from __future__ import annotations

import orjson
import pytest
from awscaller import ACCOUNT, PASS, REGION, WAIT

from flowrunner.api.aws.history import _joined
from flowrunner.ports.executions import Chunk

LONG = orjson.dumps(
    {
        "StartAt": "S0",
        "States": {
            **{f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(60)},
            "S60": {"Type": "Wait", "Seconds": 0, "Next": "S61"},
            "S61": {"Type": "Succeed"},
        },
    }
).decode()
FAIL = '{"StartAt": "A", "States": {"A": {"Type": "Fail", "Error": "E", "Cause": "C"}}}'


async def test_start_and_describe(aws):
    """A started execution has AWS's ARN; ended, it is described with its output."""
    machine = await aws.machine()
    started = await aws("StartExecution", stateMachineArn=machine, name="x", input='{"a": 1}', traceHeader="Root=1")
    assert started == {"executionArn": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:m:x", "startDate": started["startDate"]}
    described = await aws.ended(started["executionArn"])
    assert described == {
        "executionArn": started["executionArn"],
        "stateMachineArn": machine,
        "name": "x",
        "status": "SUCCEEDED",
        "startDate": started["startDate"],
        "stopDate": described["stopDate"],
        "input": '{"a": 1}',
        "inputDetails": {"included": True},
        "output": '{"x":1}',
        "outputDetails": {"included": True},
        "traceHeader": "Root=1",
        "redriveCount": 0,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
    }
    withheld = await aws("DescribeExecution", executionArn=started["executionArn"], includedData="METADATA_ONLY")
    assert not {"input", "output"} & withheld.keys()
    assert withheld["inputDetails"] == withheld["outputDetails"] == {"included": False}


async def test_failed(aws):
    """A failed execution has its error and cause, and could be redriven."""
    machine = await aws.machine(definition=FAIL)
    described = await aws.ended((await aws("StartExecution", stateMachineArn=machine))["executionArn"])
    assert (described["status"], described["error"], described["cause"], described["redriveStatus"]) == ("FAILED", "E", "C", "REDRIVABLE")
    assert not {"output", "outputDetails", "redriveStatusReason"} & described.keys()


async def test_same_name(aws):
    """The same name and input give the running execution; anything else is a conflict."""
    machine = await aws.machine(definition=WAIT)
    first = await aws("StartExecution", stateMachineArn=machine, name="x", input="1")
    assert await aws("StartExecution", stateMachineArn=machine, name="x", input="1") == first
    conflict = ("ExecutionAlreadyExists", f"Execution Already Exists: '{first['executionArn']}'")
    assert await aws.refused("StartExecution", stateMachineArn=machine, name="x", input="2") == conflict
    await aws("StopExecution", executionArn=first["executionArn"])
    assert await aws.refused("StartExecution", stateMachineArn=machine, name="x", input="1") == conflict


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({"input": "not some json"}, "InvalidExecutionInput", None),
        ({"input": ""}, "InvalidExecutionInput", "Invalid State Machine Execution Input: 'Invalid execution input.'"),
        ({"name": "a/b"}, "InvalidName", "Invalid Name: 'a/b'"),
        ({"traceHeader": "é"}, "ValidationException", None),
        ({"input": '"' + "x" * 262_144 + '"'}, "ValidationException", None),
    ],
)
async def test_start_refused(aws, request_, code, message):
    """What cannot be started is refused, and nothing starts."""
    machine = await aws.machine()
    got = await aws.refused("StartExecution", stateMachineArn=machine, **request_)
    assert got[0] == code
    assert message in (None, got[1])
    assert (await aws("ListExecutions", stateMachineArn=machine))["executions"] == []


async def test_test_case(aws):
    """A test case behind the ARN is kept with the execution; one that the mock file does not have is refused, not run unmocked."""
    aws.service.has_test_case = lambda machine, case: case == "Happy"
    machine = await aws.machine()
    assert (await aws.raw(orjson.dumps({"stateMachineArn": machine + "#Sad"}), {"x-amz-target": "AWSStepFunctions.StartExecution"}))[0] == 400
    code, message = await aws.refused("StartExecution", stateMachineArn=machine + "#")
    assert (code, message) == ("ValidationException", "The ARN of the state machine ends in '#' without the name of a test case")
    arn = (await aws("StartExecution", stateMachineArn=machine + "#Happy"))["executionArn"]
    head = await aws.service.store.executions.find(ACCOUNT, *arn.split(":")[6:])
    assert orjson.loads(head.extra) == {"testCase": "Happy"}


async def test_stop(aws):
    """A stopped execution is aborted, once, with the error and cause given."""
    machine = await aws.machine(definition=WAIT)
    arn = (await aws("StartExecution", stateMachineArn=machine))["executionArn"]
    stopped = await aws("StopExecution", executionArn=arn, error="E", cause="C")
    assert await aws("StopExecution", executionArn=arn) == stopped
    described = await aws("DescribeExecution", executionArn=arn)
    assert (described["status"], described["error"], described["cause"], described["stopDate"]) == ("ABORTED", "E", "C", stopped["stopDate"])


async def test_absent_execution(aws):
    """What is absent is told, in every operation on an execution."""
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:m:x"
    for operation in ("DescribeExecution", "DescribeStateMachineForExecution", "GetExecutionHistory", "StopExecution"):
        assert await aws.refused(operation, executionArn=arn) == ("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


async def test_express(aws):
    """An express machine runs to its end in one call, and is not listed or described."""
    machine = await aws.machine(definition=PASS, type="EXPRESS")
    ended = await aws("StartSyncExecution", stateMachineArn=machine, name="x", input='{"a":1}')
    assert ended["executionArn"].startswith(f"arn:aws:states:{REGION}:{ACCOUNT}:express:m:x:")
    assert (ended["status"], ended["input"], ended["output"]) == ("SUCCEEDED", '{"a":1}', '{"x":1}')
    assert ended["billingDetails"] == {"billedDurationInMilliseconds": 100, "billedMemoryUsedInMB": 64}
    assert (await aws("StartExecution", stateMachineArn=machine))["executionArn"].split(":")[5] == "express"
    assert (await aws.refused("ListExecutions", stateMachineArn=machine))[0] == "StateMachineTypeNotSupported"
    assert await aws.refused("DescribeExecution", executionArn=ended["executionArn"]) == (
        "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: express'",
    )  # fmt: skip


async def test_sync_is_for_express(aws):
    """A standard machine does not run in one call."""
    machine = await aws.machine()
    told = await aws.refused("StartSyncExecution", stateMachineArn=machine)
    assert told == ("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")


async def test_list(aws):
    """Newest first, by status, in pages whose tokens belong to that list."""
    machine = await aws.machine(definition=WAIT)
    arns = [(await aws("StartExecution", stateMachineArn=machine))["executionArn"] for _ in range(5)]
    await aws("StopExecution", executionArn=arns[0])
    page = await aws("ListExecutions", stateMachineArn=machine, statusFilter="RUNNING", maxResults=3)
    rest = await aws("ListExecutions", stateMachineArn=machine, statusFilter="RUNNING", maxResults=3, nextToken=page["nextToken"])
    listed = [entry["executionArn"] for entry in page["executions"] + rest["executions"]]
    assert sorted(listed) == sorted(arns[1:])
    assert "nextToken" not in rest
    assert [entry["startDate"] for entry in page["executions"]] == sorted((entry["startDate"] for entry in page["executions"]), reverse=True)
    [aborted] = (await aws("ListExecutions", stateMachineArn=machine, statusFilter="ABORTED", redriveFilter="NOT_REDRIVEN"))["executions"]
    assert aborted.keys() == {"executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "redriveCount"}
    assert (await aws.refused("ListExecutions", stateMachineArn=machine, nextToken=page["nextToken"]))[0] == "InvalidToken"
    assert (await aws("ListExecutions", stateMachineArn=machine, redriveFilter="REDRIVEN")) == {"executions": []}


async def test_list_refused(aws):
    """A list needs a machine that exists, and values that AWS takes."""
    assert (await aws.refused("ListExecutions"))[0] == "ValidationException"
    told = await aws.refused("ListExecutions", stateMachineArn="invalid_state_machine_arn")
    assert told == ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: invalid_state_machine_arn'")
    told = await aws.refused("ListExecutions", stateMachineArn="x", statusFilter="succeeded")
    assert told[1].endswith("Member must satisfy enum value set: [SUCCEEDED, TIMED_OUT, PENDING_REDRIVE, ABORTED, FAILED, RUNNING]")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [1, 7, 50, 1000])
async def test_history_in_pages(aws, size, reverse):
    """Pages of any size, in both directions, hold every event once and in order."""
    machine = await aws.machine(definition=LONG)
    arn = (await aws("StartExecution", stateMachineArn=machine))["executionArn"]
    await aws.ended(arn)
    found, token = [], None
    while True:
        page = await aws("GetExecutionHistory", executionArn=arn, maxResults=size, reverseOrder=reverse, nextToken=token)
        assert len(page["events"]) <= size
        found += page["events"]
        if "nextToken" not in page:
            break
        token = page["nextToken"]
    ids = [event["id"] for event in found]
    assert ids == (list(range(len(ids), 0, -1)) if reverse else list(range(1, len(ids) + 1)))
    assert {"ExecutionStarted", "ExecutionSucceeded"} == {found[0]["type"], found[-1]["type"]}


async def test_history_without_data(aws):
    """Data is left out when it is not wanted."""
    machine = await aws.machine()
    arn = (await aws("StartExecution", stateMachineArn=machine, input='{"secret": 1}'))["executionArn"]
    await aws.ended(arn)
    events = (await aws("GetExecutionHistory", executionArn=arn, includeExecutionData=False))["events"]
    assert [event["type"] for event in events] == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert "secret" not in str(events)
    assert "secret" in str(await aws("GetExecutionHistory", executionArn=arn))


async def test_history_token_of_another_execution(aws):
    """A page token is good for its own history and direction only, and for no place outside it."""
    machine = await aws.machine()
    one, two = [(await aws("StartExecution", stateMachineArn=machine))["executionArn"] for _ in range(2)]
    token = (await aws("GetExecutionHistory", executionArn=one, maxResults=1))["nextToken"]
    assert (await aws.refused("GetExecutionHistory", executionArn=two, nextToken=token))[0] == "InvalidToken"
    assert (await aws.refused("GetExecutionHistory", executionArn=one, nextToken=token, reverseOrder=True))[0] == "InvalidToken"


def test_records_without_id_are_not_shown():
    """Records that Step Functions does not know are left out, on the fast way too."""
    first = Chunk(1, 2, b'[{"type":"A","id":1},{"type":"ours"}]')
    second = Chunk(3, 2, b'[{"type":"B","id":2},{"type":"C","id":3}]')
    assert orjson.loads(_joined([first, second], 1, 4)) == [{"type": "A", "id": 1}, {"type": "B", "id": 2}, {"type": "C", "id": 3}]
    assert orjson.loads(_joined([first, second], 2, 3)) == [{"type": "B", "id": 2}]


def test_whole_chunks_go_out_as_they_are():
    """Chunks are joined byte by byte: spaces show that nothing was decoded."""
    chunks = [Chunk(1, 1, b'[{"id": 1}]'), Chunk(2, 2, b'[{"id": 2},{"id": 3}]'), Chunk(4, 1, b'[{"id": 4}]')]
    assert _joined(chunks, 1, 4) == b'[{"id": 1},{"id": 2},{"id": 3},{"id": 4}]'
    assert _joined(chunks, 1, 2) == b'[{"id": 1},{"id":2}]'
    assert _joined(chunks[:1], 1, 1) == b'[{"id": 1}]'
    assert _joined([], 1, 0) == b"[]"
