from __future__ import annotations

import json

import pytest
from task_calls import ACCOUNT, REGION, call

from flowrunner.errors import AccessDenied, Conflict, InvalidToken, LimitExceeded, NotFound, StoreUnavailable, TaskTokenTimedOut
from flowrunner.ports.tasks import ChildStart, Succeeded

MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:child"
START = "arn:aws:states:::states:startExecution"
ID = "00000000-0000-4000-8000-000000000001"


async def outcome_of(registry, resource, parameters):
    made = await registry()
    one = call(resource, parameters)
    return await made.resolve(one).run(one)


@pytest.mark.parametrize(("pattern", "wait"), [("", None), (".sync", "text"), (".sync:2", "json"), (".waitForTaskToken", None)])
async def test_start(registry, starter, pattern, wait):
    """A start hands over what the engine needs and gives AWS's first answer."""
    outcome = await outcome_of(registry, START + pattern, {"StateMachineArn": MACHINE, "Input": {"a": 1}, "Name": "TestStartTarget"})
    assert isinstance(outcome, Succeeded)
    start = ChildStart(account=ACCOUNT, machine_arn=MACHINE, name="TestStartTarget", input='{"a":1}', key="e1/1", parent="e1", attempt=1, wait=wait)
    assert starter.started == [start]
    answer = json.loads(outcome.output)
    assert list(answer) == ["ExecutionArn", "SdkHttpMetadata", "SdkResponseMetadata", "StartDate"]
    assert answer["ExecutionArn"] == f"arn:aws:states:{REGION}:{ACCOUNT}:execution:child:TestStartTarget"
    assert answer["StartDate"] == 1_745_486_528_077
    assert answer["SdkResponseMetadata"] == {"RequestId": ID}
    assert answer["SdkHttpMetadata"]["AllHttpHeaders"]["Content-Type"] == ["application/x-amz-json-1.0"]


async def test_a_flow_started_as_a_task_has_the_id_that_rest_takes(registry, starter):
    """AWS has no such execution; without the id nobody could look up one that is not waited for."""
    outcome = await outcome_of(registry, START, {"StateMachineArn": MACHINE.replace(":child", ":flow/child")})
    assert json.loads(outcome.output)["ExecutionId"] == "c0ffee"


@pytest.mark.parametrize(
    ("machine", "error", "cause"),
    [
        ("flow/f", NotFound("state machine", "x"), "There is no flow 'f'."),
        ("workflow/w", NotFound("state machine", "x"), "There is no workflow 'w'."),
        ("test/t", NotFound("state machine", "x"), "There is no test case 't'."),
        ("flow/f", LimitExceeded("too deep"), "too deep"),
    ],
)
async def test_what_aws_does_not_know_fails_in_plain_words(registry, starter, machine, error, cause):
    """By the error that the kinds name."""
    starter.error = error
    outcome = await outcome_of(registry, START + ".sync:2", {"StateMachineArn": MACHINE.replace(":child", f":{machine}")})
    assert (outcome.error, outcome.cause, outcome.phase) == ("States.TaskFailed", cause, "submit")


@pytest.mark.parametrize(
    ("given", "text"), [({}, "{}"), ({"Input": None}, "{}"), ({"Input": '"text"'}, '"text"'), ({"Input": [1]}, "[1]"), ({"Input": {"ü": 1}}, '{"ü":1}')]
)
async def test_input(registry, starter, given, text):
    """Input is a JSON value or JSON text; absent it is {} (recorded from AWS)."""
    await outcome_of(registry, START, {"StateMachineArn": MACHINE} | given)
    assert (starter.started[0].input, starter.started[0].name) == (text, None)


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (NotFound("state machine", "child"), "StateMachineDoesNotExist", f"State Machine Does Not Exist: '{MACHINE}'"),
        (Conflict(), "ExecutionAlreadyExists", f"Execution Already Exists: 'arn:aws:states:{REGION}:{ACCOUNT}:execution:child:n'"),
        (AccessDenied("no"), "AccessDenied", "no"),
        (StoreUnavailable(), "ServiceUnavailable", "The store does not answer now."),
    ],
)
async def test_start_errors(registry, starter, error, name, message):
    """A refused start has AWS's names and words; in a job it fails on submission."""
    starter.error = error
    parameters = {"StateMachineArn": MACHINE, "Name": "n"}
    outcome = await outcome_of(registry, START, parameters)
    assert (outcome.error, outcome.phase) == (f"StepFunctions.{name}Exception", "run")
    assert outcome.cause.startswith(f"{message} (Service: AWSStepFunctions; Status Code: ")
    assert outcome.cause.endswith(f"; Error Code: {name}; Request ID: {ID}; Proxy: null)")
    assert (await outcome_of(registry, START + ".sync", parameters)).phase == "submit"
    sdk = await outcome_of(registry, "arn:aws:states:::aws-sdk:sfn:startExecution", parameters)
    assert sdk.error == f"Sfn.{name}Exception"
    assert sdk.cause.startswith(f"{message} (Service: Sfn, Status Code: ")


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({}, "States.Runtime"),
        ([], "States.Runtime"),
        ({"StateMachineArn": MACHINE, "Nmae": "x"}, "States.Runtime"),
        ({"StateMachineArn": MACHINE, "Name": "a b"}, "StepFunctions.InvalidNameException"),
        ({"StateMachineArn": MACHINE, "Input": "no JSON"}, "StepFunctions.InvalidExecutionInputException"),
    ],
)
async def test_bad_starts(registry, starter, parameters, error):
    """What cannot be started is not handed over."""
    assert (await outcome_of(registry, START, parameters)).error == error
    assert starter.started == []


@pytest.mark.parametrize(
    ("parameters", "code", "message"),
    [
        ({"StateMachineArn": MACHINE, "Name": "a b"}, "InvalidName", "Invalid Name: 'a b'"),
        ({"StateMachineArn": "bad"}, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: bad'"),
        ({"StateMachineArn": ""}, "InvalidArn", "Invalid Arn: 'Invalid ARN prefix: '"),
        ({"StateMachineArn": MACHINE.replace("stateMachine", "activity")}, "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: activity'"),
    ],
)
async def test_starts_that_the_service_would_refuse(registry, starter, parameters, code, message):
    """They fail in the words of the API with what each integration adds, and nothing is asked of the engine."""
    outcome = await outcome_of(registry, START + ".sync", parameters)
    assert (outcome.error, outcome.phase) == (f"StepFunctions.{code}Exception", "submit")
    assert outcome.cause == f"{message} (Service: AWSStepFunctions; Status Code: 400; Error Code: {code}; Request ID: {ID}; Proxy: null)"
    sdk = await outcome_of(registry, "arn:aws:states:::aws-sdk:sfn:startExecution", parameters)
    assert sdk.error == f"Sfn.{code}Exception"
    assert sdk.cause.startswith(f"{message} (Service: Sfn, Status Code: 400, ")
    assert starter.started == []


SDK = "arn:aws:states:::aws-sdk:sfn:"


async def test_answers(registry, starter):
    """Tokens are answered on behalf of a task."""
    for action, parameters in (
        ("sendTaskSuccess", {"TaskToken": "t", "Output": "1"}),
        ("sendTaskFailure", {"TaskToken": "t", "Error": "E", "Cause": "c"}),
        ("sendTaskFailure", {"TaskToken": "t"}),
        ("sendTaskHeartbeat", {"TaskToken": "t"}),
    ):
        assert await outcome_of(registry, SDK + action, parameters) == Succeeded("{}")
    assert starter.answers == [("t", "1", None, None), ("t", None, "E", "c"), ("t", None, None, None)]
    assert starter.beats == ["t"]


async def test_invalid_token(registry, starter):
    """As recorded: an unknown token is the first thing that is wrong, even with an output that is no JSON."""
    starter.error = InvalidToken()
    outcome = await outcome_of(registry, SDK + "sendTaskSuccess", {"Output": "ParameterOutput", "TaskToken": "NoSuchTaskToken"})
    assert outcome.error == "Sfn.InvalidTokenException"
    assert outcome.cause == f"Invalid Token: 'Invalid token' (Service: Sfn, Status Code: 400, Request ID: {ID}) (SDK Attempt Count: 1)"
    starter.error = TaskTokenTimedOut()
    assert (await outcome_of(registry, SDK + "sendTaskFailure", {"TaskToken": "t"})).error == "Sfn.TaskTimedOutException"


async def test_output_that_is_no_json(registry, starter):
    """With a good token, an output that is no JSON is refused and nothing is answered."""
    outcome = await outcome_of(registry, SDK + "sendTaskSuccess", {"Output": "ParameterOutput", "TaskToken": "t"})
    assert outcome.error == "Sfn.InvalidOutputException"
    assert starter.answers == []


async def test_activity_tasks(registry, starter):
    """A task can be taken from an activity; {} when there is none."""
    asked = {"ActivityArn": f"arn:aws:states:{REGION}:{ACCOUNT}:activity:a", "WorkerName": "w"}
    assert await outcome_of(registry, SDK + "getActivityTask", asked) == Succeeded("{}")
    starter.task = ("token", '{"Value1":"HelloWorld"}')
    outcome = await outcome_of(registry, SDK + "getActivityTask", asked)
    assert json.loads(outcome.output) == {"Input": '{"Value1":"HelloWorld"}', "TaskToken": "token"}
    starter.error = NotFound("activity", "a")
    assert (await outcome_of(registry, SDK + "getActivityTask", asked)).error == "Sfn.ActivityDoesNotExistException"


async def test_idempotence(registry):
    """A start may be repeated under its key, an answer may not."""
    made = await registry()
    for resource, expected in ((START, True), (START + ".sync:2", True), (SDK + "startExecution", True), (SDK + "sendTaskSuccess", False)):
        one = call(resource, {})
        assert made.resolve(one).idempotent(one) is expected
