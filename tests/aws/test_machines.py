"""State machines over the AWS API: creating, describing, updating, deleting, listing, tagging, validating."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from awscaller import ACCOUNT, PASS, REGION, ROLE, WAIT

from flowrunner.ports.definitions import Machine, Revision

ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m"
LOGS = {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:g:*"}}]}


async def test_create_and_describe(aws):
    """A new machine has AWS's defaults, and no revision id yet."""
    created = await aws("CreateStateMachine", name="m", definition=PASS, roleArn=ROLE)
    assert created == {"stateMachineArn": ARN, "creationDate": created["creationDate"]}
    assert isinstance(created["creationDate"], float)
    assert await aws("DescribeStateMachine", stateMachineArn=ARN) == {
        "stateMachineArn": ARN,
        "name": "m",
        "status": "ACTIVE",
        "type": "STANDARD",
        "definition": PASS,
        "roleArn": ROLE,
        "creationDate": created["creationDate"],
        "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
        "tracingConfiguration": {"enabled": False},
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    }


async def test_create_again(aws):
    """Creating the same again gives the same; role and tags do not count, everything else does."""
    first = await aws("CreateStateMachine", name="m", definition=PASS, roleArn=ROLE)
    await asyncio.sleep(0.002)
    assert await aws("CreateStateMachine", name="m", definition=PASS, roleArn=ROLE + "2", tags=[{"key": "a", "value": "b"}]) == first
    assert (await aws("ListTagsForResource", resourceArn=ARN))["tags"] == []
    for other in ({"definition": PASS + " "}, {"type": "EXPRESS"}, {"tracingConfiguration": {"enabled": True}}, {"loggingConfiguration": LOGS}):
        request = {"name": "m", "definition": PASS, "roleArn": ROLE, **other}
        assert await aws.refused("CreateStateMachine", **request) == ("StateMachineAlreadyExists", f"State Machine Already Exists: '{ARN}'")


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({"name": "a b"}, "InvalidName", "Invalid Name: 'a b'"),
        ({"roleArn": "role"}, "InvalidArn", "Invalid Role Arn: 'role'"),
        ({"definition": "{}"}, "InvalidDefinition", "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States, StartAt] at /'"),
        ({"loggingConfiguration": {"level": "ALL"}}, "InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination."),
        (
            {"loggingConfiguration": {**LOGS, "destinations": LOGS["destinations"] * 2}},
            "InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        ),
        ({"tags": [{"key": str(number), "value": ""} for number in range(51)]}, "TooManyTags", "A resource can have at most 50 tags"),
        ({"tags": [{"key": "a!", "value": ""}]}, "ValidationException", "Tags may only contain Unicode letters, digits, white space, or these symbols: _ . : / = + - @: 'a!'"),
        ({"tags": [{"key": "a", "value": "b;c"}]}, "ValidationException", "Tags may only contain Unicode letters, digits, white space, or these symbols: _ . : / = + - @: 'b;c'"),
        ({"tags": [{"key": "aws:x", "value": ""}]}, "ValidationException", "The prefix 'aws:' of the keys of tags is AWS's own: 'aws:x'"),
        ({"tags": [{"value": ""}]}, "ValidationException", "1 validation error detected: Value null at 'tags.1.member.key' failed to satisfy constraint: Member must not be null"),
        ({"publish": True}, "UnsupportedOperation", "This version of FlowRunner does not support versions of state machines (publish)."),
        ({"versionDescription": "x"}, "ValidationException", "Version description can only be set when publish is true"),
        (
            {"encryptionConfiguration": {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"}},
            "InvalidEncryptionConfiguration", "Invalid Encryption Configuration: customer managed keys are not supported.",
        ),
    ],
)  # fmt: skip
async def test_create_refused(aws, request_, code, message):
    """What cannot be created is refused with AWS's code, and nothing is created."""
    assert await aws.refused("CreateStateMachine", **{"name": "m", "definition": PASS, "roleArn": ROLE, **request_}) == (code, message)
    assert (await aws("ListStateMachines"))["stateMachines"] == []


async def test_update(aws):
    """An update makes a revision with an id; one that changes nothing makes none."""
    await aws.machine()
    unchanged = await aws("UpdateStateMachine", stateMachineArn=ARN, definition=PASS)
    assert unchanged.keys() == {"updateDate"}
    updated = await aws("UpdateStateMachine", stateMachineArn=ARN, definition=WAIT)
    described = await aws("DescribeStateMachine", stateMachineArn=ARN)
    assert (described["revisionId"], described["definition"], described["roleArn"]) == (updated["revisionId"], WAIT, ROLE)
    assert await aws("UpdateStateMachine", stateMachineArn=ARN, definition=WAIT, roleArn=ROLE) == updated
    logged = await aws("UpdateStateMachine", stateMachineArn=ARN, loggingConfiguration=LOGS)
    assert logged["revisionId"] != updated["revisionId"]
    assert (await aws("DescribeStateMachine", stateMachineArn=ARN))["loggingConfiguration"] == {"includeExecutionData": False, **LOGS}


async def test_update_refused(aws):
    """An update needs something to update, an existing machine and a sound definition."""
    assert (await aws.refused("UpdateStateMachine", stateMachineArn=ARN))[0] == "MissingRequiredParameter"
    assert await aws.refused("UpdateStateMachine", stateMachineArn=ARN, roleArn=ROLE) == ("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{ARN}'")
    await aws.machine()
    assert (await aws.refused("UpdateStateMachine", stateMachineArn=ARN, definition="x"))[0] == "InvalidDefinition"
    assert (await aws("DescribeStateMachine", stateMachineArn=ARN))["definition"] == PASS


async def test_a_definition_of_an_earlier_release_stays(aws):
    """One that would be refused today is updated around, described and not taken anew."""
    retriers = [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["X"]}]
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Retry": retriers, "Parameters": {"a.$": "$v"}, "End": True}
    kept = orjson.dumps({"StartAt": "A", "States": {"A": task}}).decode()
    assert (await aws.refused("CreateStateMachine", name="m", definition=kept, roleArn=ROLE))[0] == "InvalidDefinition"
    revision = Revision(id="r", account=ACCOUNT, machine="m", definition=kept, role_arn=ROLE, created_at=1)
    await aws.service.store.definitions.create_machine(Machine(account=ACCOUNT, name="m", type="STANDARD", created_at=1, revision=revision))
    await aws("UpdateStateMachine", stateMachineArn=ARN, roleArn=f"{ROLE}2")
    described = await aws("DescribeStateMachine", stateMachineArn=ARN)
    assert (described["definition"], described["roleArn"], described["variableReferences"]) == (kept, f"{ROLE}2", {"A": ["v"]})


async def test_execution_keeps_its_revision(aws):
    """An update changes nothing for executions that have started."""
    await aws.machine(definition=WAIT)
    execution = (await aws("StartExecution", stateMachineArn=ARN))["executionArn"]
    updated = await aws("UpdateStateMachine", stateMachineArn=ARN, definition=PASS)
    shown = await aws("DescribeStateMachineForExecution", executionArn=execution)
    assert (shown["definition"], shown["stateMachineArn"], "revisionId" in shown) == (WAIT, ARN, False)
    later = (await aws("StartExecution", stateMachineArn=ARN))["executionArn"]
    await aws("DeleteStateMachine", stateMachineArn=ARN)
    shown = await aws("DescribeStateMachineForExecution", executionArn=later)
    assert (shown["definition"], shown["revisionId"], shown["updateDate"]) == (PASS, updated["revisionId"], updated["updateDate"])


async def test_variable_references(aws):
    """Which variables a state refers to is told, unless the definition is withheld."""
    text = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Assign": {"v": 1}, "Next": "B"}, "B": {"Type": "Pass", "InputPath": "$v", "End": true}}}'
    await aws.machine(definition=text)
    aws.service._references.clear()  # as after a restart
    assert (await aws("DescribeStateMachine", stateMachineArn=ARN))["variableReferences"] == {"B": ["v"]}
    withheld = await aws("DescribeStateMachine", stateMachineArn=ARN, includedData="METADATA_ONLY")
    assert (withheld["definition"], "variableReferences" in withheld) == ("{}", False)


async def test_delete(aws):
    """Deleting is repeatable; what is deleted is gone."""
    await aws.machine()
    assert await aws("DeleteStateMachine", stateMachineArn=ARN) == {}
    assert await aws("DeleteStateMachine", stateMachineArn=ARN) == {}
    assert await aws.refused("DescribeStateMachine", stateMachineArn=ARN) == ("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{ARN}'")
    assert (await aws.refused("DeleteStateMachine", stateMachineArn=ARN + ":1"))[0] == "InvalidArn"


async def test_arns(aws):
    """What is no ARN, or one of something else, is told apart from what is absent."""
    assert await aws.refused("DescribeStateMachine", stateMachineArn="not_a_valid_arn") == ("InvalidArn", "Invalid Arn: 'Invalid ARN prefix: not_a_valid_arn'")
    assert await aws.refused("DescribeStateMachine", stateMachineArn=ARN.replace("stateMachine", "activity")) == (
        "InvalidArn", "Invalid Arn: 'Resource type not valid in this context: activity'",
    )  # fmt: skip
    await aws.machine()
    assert (await aws.refused("DescribeStateMachine", stateMachineArn=ARN + ":1"))[0] == "StateMachineDoesNotExist"


async def test_list_in_pages(aws):
    """Pages hold everything once; a token of another list is refused."""
    for number in range(5):
        await aws.machine(f"m{number}")
    found, token = [], None
    while True:
        page = await aws("ListStateMachines", maxResults=2, nextToken=token)
        found += page["stateMachines"]
        if "nextToken" not in page:
            break
        token = page["nextToken"]
    assert [machine["name"] for machine in found] == ["m0", "m1", "m2", "m3", "m4"]
    assert found[0].keys() == {"stateMachineArn", "name", "type", "creationDate"}
    assert (await aws.refused("ListActivities", nextToken=token))[0] == "InvalidToken"
    assert len((await aws("ListStateMachines", maxResults=0))["stateMachines"]) == 5


@pytest.mark.parametrize("kind", ["stateMachine", "activity"])
async def test_tags(aws, kind):
    """Tags are added, replaced and removed, of machines and activities."""
    if kind == "stateMachine":
        arn = await aws.machine(tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
    else:
        arn = (await aws("CreateActivity", name="m", tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]))["activityArn"]
    await aws("TagResource", resourceArn=arn, tags=[{"key": "b", "value": "3"}, {"key": "c", "value": ""}])
    await aws("UntagResource", resourceArn=arn, tagKeys=["a", "absent"])
    assert (await aws("ListTagsForResource", resourceArn=arn))["tags"] == [{"key": "b", "value": "3"}, {"key": "c", "value": ""}]
    many = [{"key": f"k{number}", "value": ""} for number in range(49)]
    assert (await aws.refused("TagResource", resourceArn=arn, tags=many))[0] == "TooManyTags"
    for absent in (arn + "x", ARN + ":1"):
        assert await aws.refused("TagResource", resourceArn=absent, tags=[]) == ("ResourceNotFound", f"Resource not found: '{absent}'")


async def test_validate(aws):
    """A sound definition is OK; a broken one FAILs with what is wrong, up to the number asked for."""
    assert await aws("ValidateStateMachineDefinition", definition=PASS) == {"result": "OK", "diagnostics": [], "truncated": False}
    assert await aws("ValidateStateMachineDefinition", definition=" ") == {
        "result": "FAIL",
        "diagnostics": [{"severity": "ERROR", "code": "SCHEMA_VALIDATION_FAILED", "message": "Definition must be a valid JSON object"}],
        "truncated": False,
    }
    broken = '{"StartAt": "X", "States": {"A": {"Type": "Pass", "Next": "Y"}, "B": {"Type": "Succeed"}}}'
    whole = await aws("ValidateStateMachineDefinition", definition=broken)
    first = await aws("ValidateStateMachineDefinition", definition=broken, maxResults=1)
    assert len(whole["diagnostics"]) > 1
    assert (first["diagnostics"], first["truncated"]) == (whole["diagnostics"][:1], True)
    assert whole["diagnostics"][0]["location"].startswith("/")


async def test_large_definition_beside_the_loop(aws):
    """A large definition is read in a thread, with the same outcome."""
    states = ", ".join(f'"S{number}": {{"Type": "Pass", "Next": "S{number + 1}"}}' for number in range(900))
    text = f'{{"StartAt": "S0", "States": {{{states}, "S900": {{"Type": "Succeed"}}}}}}'
    assert len(text) > 32_768
    assert (await aws("ValidateStateMachineDefinition", definition=text))["result"] == "OK"


async def test_flows_and_workflows_are_not_here(aws):
    """Machines whose names AWS does not have are neither listed nor found, whatever the page, and stay as they are."""
    definitions = aws.service.store.definitions
    for name in ("flow/a", "flow/b", "flow/c", "workflow/a"):
        revision = Revision(id=name, account=ACCOUNT, machine=name, definition=PASS, role_arn="", created_at=1, settings={"format": "flow"})
        await definitions.create_machine(Machine(account=ACCOUNT, name=name, type="STANDARD", created_at=1, revision=revision))
    for name in ("a", "flow", "flow0", "g", "workflow", "x"):
        await aws("CreateStateMachine", name=name, definition=PASS, roleArn=ROLE)
    for size in (1, 2, 3, 100):
        names, token = [], {}
        while True:
            page = await aws("ListStateMachines", maxResults=size, **token)
            names += [machine["name"] for machine in page["stateMachines"]]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        assert names == ["a", "flow", "flow0", "g", "workflow", "x"]
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:flow/a"
    for operation, more in (
        ("DescribeStateMachine", {}),
        ("UpdateStateMachine", {"definition": PASS}),
        ("StartExecution", {}),
        ("ListExecutions", {}),
        ("DeleteStateMachine", {}),
    ):
        assert (await aws.refused(operation, **({"stateMachineArn": arn} | more)))[0] == "StateMachineDoesNotExist"
    assert (await aws.refused("ListTagsForResource", resourceArn=arn))[0] == "ResourceNotFound"
    assert await definitions.machine(ACCOUNT, "flow/a") is not None
