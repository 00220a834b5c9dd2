"""boto3, unchanged, speaks with a real server over a socket: every implemented operation once."""

from __future__ import annotations

import datetime as dt
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest
from awscaller import PASS, ROLE, WAIT

from flowrunner.api.aws.handlers import HANDLERS


@pytest.fixture(scope="module")
def client(endpoint_url):
    config = botocore.config.Config(inject_host_prefix=False, retries={"max_attempts": 0}, read_timeout=20)
    return boto3.client("stepfunctions", endpoint_url=endpoint_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s", config=config)


def ended(client, arn):
    deadline = time.monotonic() + 10
    while (described := client.describe_execution(executionArn=arn))["status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.01)
    return described


def test_every_operation(client):
    """A tour through all operations of this version; the parsed answers have the types of AWS's model."""
    called = set()
    client.meta.events.register("before-call.stepfunctions", lambda model, **named: called.add(model.name))

    activity = client.create_activity(name="work", tags=[{"key": "k", "value": "v"}])["activityArn"]
    assert client.describe_activity(activityArn=activity)["name"] == "work"
    assert [entry["name"] for entry in client.list_activities()["activities"]] == ["work"]
    assert client.validate_state_machine_definition(definition=PASS)["result"] == "OK"
    created = client.create_state_machine(name="m", definition=PASS, roleArn=ROLE)
    assert isinstance(created["creationDate"], dt.datetime)
    machine = created["stateMachineArn"]
    client.tag_resource(resourceArn=machine, tags=[{"key": "k", "value": "v"}])
    assert client.list_tags_for_resource(resourceArn=machine)["tags"] == [{"key": "k", "value": "v"}]
    client.untag_resource(resourceArn=machine, tagKeys=["k"])
    assert client.describe_state_machine(stateMachineArn=machine)["definition"] == PASS
    assert [entry["name"] for entry in client.list_state_machines()["stateMachines"]] == ["m"]

    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    described = ended(client, execution)
    assert (described["status"], described["output"]) == ("SUCCEEDED", '{"x":1}')
    assert isinstance(described["stopDate"], dt.datetime)
    assert client.get_execution_history(executionArn=execution)["events"][0]["type"] == "ExecutionStarted"
    assert client.describe_state_machine_for_execution(executionArn=execution)["name"] == "m"
    assert [entry["executionArn"] for entry in client.list_executions(stateMachineArn=machine)["executions"]] == [execution]

    assert client.update_state_machine(stateMachineArn=machine, definition=WAIT)["revisionId"]
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    assert client.stop_execution(executionArn=execution)["stopDate"]

    task = f'{{"StartAt": "A", "States": {{"A": {{"Type": "Task", "Resource": "{activity}", "End": true}}}}}}'
    client.update_state_machine(stateMachineArn=machine, definition=task)
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    token = client.get_activity_task(activityArn=activity, workerName="w")["taskToken"]
    client.send_task_heartbeat(taskToken=token)
    client.send_task_success(taskToken=token, output="1")
    assert ended(client, execution)["output"] == "1"
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]
    client.send_task_failure(taskToken=client.get_activity_task(activityArn=activity)["taskToken"], error="E")
    assert ended(client, execution)["error"] == "E"
    assert "taskToken" not in client.get_activity_task(activityArn=activity)

    express = client.create_state_machine(name="e", definition=PASS, roleArn=ROLE, type="EXPRESS")["stateMachineArn"]
    assert client.start_sync_execution(stateMachineArn=express)["output"] == '{"x":1}'
    client.delete_state_machine(stateMachineArn=machine)
    client.delete_activity(activityArn=activity)
    assert called == set(HANDLERS)


def test_errors_are_classes(client):
    """boto3 raises its own exception classes for our errors."""
    with pytest.raises(client.exceptions.StateMachineDoesNotExist):
        client.describe_state_machine(stateMachineArn="arn:aws:states:us-east-1:000000000000:stateMachine:none")
    with pytest.raises(client.exceptions.InvalidArn, match="Invalid ARN prefix: nothing"):
        client.describe_state_machine(stateMachineArn="nothing")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.test_state(definition="{}", roleArn=ROLE)
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert caught.value.response["ResponseMetadata"]["RequestId"]


def test_large_input(client):
    """A request near the limit passes through a socket whole; one past it is refused."""
    machine = client.create_state_machine(name="large", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    payload = '"' + "x" * 262_000 + '"'
    execution = client.start_execution(stateMachineArn=machine, input=payload)["executionArn"]
    assert ended(client, execution)["input"] == payload
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.create_state_machine(name="huge", definition="x" * 1_048_576, roleArn=ROLE)
    assert caught.value.response["Error"]["Code"] in ("RequestEntityTooLargeException", "413")
