"""boto3 and botocore, unchanged, sign for a real server that checks every signature."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from urllib.parse import urlsplit

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest
from awscaller import PASS, ROLE, served
from awssigner import Key, Keys

from flowrunner.api.aws import Signed
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.identify import EVERYTHING
from flowrunner.clock import SystemClock
from flowrunner.identity.permissions import Permission

OWN, OTHER, READER, TEMPORARY = "AKIAOWN", "AKIAOTHER", "AKIAREADER", "ASIATEMPORARY"
ACCOUNT = "000000000000"
KEYS = Keys(
    {
        OWN: Key(account=ACCOUNT, permissions=EVERYTHING),
        OTHER: Key(account="222222222222", secret="another", permissions=EVERYTHING),
        READER: Key(account=ACCOUNT, permissions=frozenset({Permission.MACHINES_READ})),
        TEMPORARY: Key(account=ACCOUNT, permissions=EVERYTHING, session_token="session"),
    }
)
SAMPLES = {"ARN": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m", "TEXT": "x"}


@pytest.fixture(scope="module")
def url():
    with served(Signed(KEYS.lookup, clock=SystemClock(), randomness=os.urandom, regions={"us-east-1"})) as url:
        yield url


def client_of(url, key=OWN, *, secret=None, token=None, region="us-east-1", **more):
    config = botocore.config.Config(inject_host_prefix=False, retries={"max_attempts": 0}, read_timeout=20, parameter_validation=False, **more)
    secret = KEYS[key].secret if secret is None else secret
    return boto3.client(
        "stepfunctions", endpoint_url=url, region_name=region, config=config, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    )


@pytest.fixture(scope="module")
def client(url):
    return client_of(url)


def code_of(call, **request):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**request)
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_the_servers_clock_and_the_clients_are_one(client):
    """A signed call is answered."""
    machine = client.create_state_machine(name="m", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    started = [client.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(20)]
    assert len(set(started)) == 20  # equal calls within one second are so many executions


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation(client, operation):
    """The wire form of all 37 operations is signed well: each is answered by the operation, not by the check of the signature."""
    model = client.meta.service_model.operation_model(operation)
    request = {name: sample(shape) for name, shape in model.input_shape.members.items() if name in model.input_shape.required_members}
    method = next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)
    try:
        getattr(client, method)(**request)
    except botocore.exceptions.ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert (status, "Signature" in code, code) == (400, False, code)
        assert code not in ("AccessDeniedException", "UnrecognizedClientException")


def sample(shape):
    if shape.type_name == "list":
        return [sample(shape.member)]
    if shape.type_name == "structure":
        return {name: sample(member) for name, member in shape.members.items() if name in shape.required_members}
    return {"integer": 1, "boolean": True, "double": 1.0}.get(shape.type_name, SAMPLES["ARN" if shape.name.lower().endswith("arn") else "TEXT"])


def test_who_is_refused(url, client):
    """A wrong secret, an unknown key, another region: each has the code that boto3 shows."""
    assert code_of(client_of(url, secret="wrong").list_state_machines)[::2] == ("InvalidSignatureException", 400)
    assert code_of(client_of(url, "AKIANOBODY", secret="x").list_state_machines) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        400,
    )
    code, message, _ = code_of(client_of(url, region="eu-west-1").list_state_machines)
    assert (code, message) == ("InvalidSignatureException", "Credential should be scoped to a valid region, not 'eu-west-1'. ")
    unsigned = client_of(url, signature_version=botocore.UNSIGNED)
    assert code_of(unsigned.list_state_machines)[::2] == ("MissingAuthenticationTokenException", 403)


def test_the_account_is_the_keys(url, client):
    """A key of another account sees nothing of this one's; a key may do what it may do, no more."""
    machine = client.create_state_machine(name="mine", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    other = client_of(url, OTHER)
    assert other.list_state_machines()["stateMachines"] == []
    assert code_of(other.describe_state_machine, stateMachineArn=machine)[0] == "AccessDeniedException"
    reader = client_of(url, READER)
    assert "mine" in [entry["name"] for entry in reader.list_state_machines()["stateMachines"]]
    assert code_of(reader.start_execution, stateMachineArn=machine)[0] == "AccessDeniedException"


def test_temporary_keys(url):
    """A session token is part of the credential."""
    assert client_of(url, TEMPORARY, token="session").list_activities()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert code_of(client_of(url, TEMPORARY).list_activities)[0] == "UnrecognizedClientException"


def send(url, request):
    place = urlsplit(request.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    try:
        connection.request(request.method, f"{place.path}?{place.query}", request.data or b"", dict(request.headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("token", [None, "session"])
def test_presigned(url, token):
    """A presigned request, as botocore's signer makes it, is answered; the body is part of it by its hash."""
    body = b'{"maxResults": 5}'
    key = TEMPORARY if token else OWN
    headers = {"x-amz-target": "AWSStepFunctions.ListActivities", "content-type": "application/x-amz-json-1.0"}
    request = botocore.awsrequest.AWSRequest("POST", f"{url}/", {**headers, "x-amz-content-sha256": hashlib.sha256(body).hexdigest()})
    credentials = botocore.credentials.Credentials(key, KEYS[key].secret, token)
    botocore.auth.SigV4QueryAuth(credentials, "states", "us-east-1", expires=60).add_auth(request)
    request.data = body
    status, answer = send(url, request)
    assert (status, list(answer)) == (200, ["activities"])
    request.data = b'{"maxResults": 6}'
    status, answer = send(url, request)
    assert (status, answer["__type"]) == (400, "com.amazon.coral.service#InvalidSignatureException")


def test_large_body(client):
    """A large input is signed with the rest."""
    machine = client.create_state_machine(name="large", definition=PASS, roleArn=ROLE)["stateMachineArn"]
    assert client.start_execution(stateMachineArn=machine, input='"' + "x" * 262_000 + '"')["executionArn"]
