"""Whatever is sent, the answer is one that an AWS SDK understands, and never a 500."""

from __future__ import annotations

import asyncio
import uuid

import orjson
import pytest
import structlog.testing
from awscaller import ACCOUNT, PASS, ROLE, Caller

from flowrunner.api.aws import AwsEndpoint, DenyAll, Development, Principal
from flowrunner.api.aws.operations import OPERATIONS
from flowrunner.api.denials import Denials
from flowrunner.api.ratelimits import Buckets
from flowrunner.clock import SystemClock
from flowrunner.errors import FlowRunnerError, StoreUnavailable
from flowrunner.identity.audit import AuditLog
from flowrunner.identity.permissions import Permission
from flowrunner.limits import Rate
from flowrunner.stores.memory.store import MemoryStore

LIST = {"x-amz-target": "AWSStepFunctions.ListStateMachines"}
START = {"x-amz-target": "AWSStepFunctions.StartExecution"}
DEEP = b"[" * 100_000
BAD = [
    (b"", LIST, 400, "SerializationException"),
    (b"not json", LIST, 400, "SerializationException"),
    (b"[]", LIST, 400, "SerializationException"),
    (b"null", LIST, 400, "SerializationException"),
    (b'"x"', LIST, 400, "SerializationException"),
    (b'{"maxResults": NaN}', LIST, 400, "SerializationException"),
    (b'{"maxResults": 1e999}', LIST, 400, "SerializationException"),
    (b'{"nextToken": "\\ud800"}', LIST, 400, "SerializationException"),
    (b'{"nextToken": "\xff"}', LIST, 400, "SerializationException"),
    (b'{"a": ' + DEEP, LIST, 400, "SerializationException"),
    (b'{"a": ' + DEEP + b"]" * 100_000 + b"}", LIST, 400, "SerializationException"),
    (b'{"tags": ' + b"[" * 900 + b"]" * 900 + b"}", {"x-amz-target": "AWSStepFunctions.TagResource"}, 400, "SerializationException"),
    (b'{"maxResults": "1"}', LIST, 400, "SerializationException"),
    (b'{"maxResults": 99999999999999999999}', LIST, 400, "SerializationException"),
    (b'{"maxResults": -1}', LIST, 400, "ValidationException"),
    (b'{"nextToken": "%%%"}', LIST, 400, "InvalidToken"),
    (b'{"nextToken": "WzFd"}', LIST, 400, "InvalidToken"),
    ('{"nextToken": "é"}'.encode(), LIST, 400, "InvalidToken"),
    (b"{}", {}, 400, "MissingAction"),
    (b"{}", {"x-amz-target": "ListStateMachines"}, 400, "UnknownOperationException"),
    (b"{}", {"x-amz-target": "AWSStepFunctions.Fly"}, 400, "UnknownOperationException"),
    (b"{}", {"x-amz-target": "AWSEvents.PutEvents"}, 400, "UnknownOperationException"),
    (b"{}", {"x-amz-target": "AWSStepFunctions."}, 400, "UnknownOperationException"),
    (b"{}", {"x-amz-target": "\xff" * 5000}, 400, "UnknownOperationException"),
    (b"{}", START, 400, "ValidationException"),
    (b'{"stateMachineArn": "\\u0000"}', START, 400, "InvalidArn"),
    (b'{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:"}', START, 400, "InvalidArn"),
    (b'{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:a:b:c"}', START, 400, "InvalidArn"),
    (b'{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:activity:a"}', START, 400, "InvalidArn"),
    (b'{"stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:\\u0000"}', START, 400, "StateMachineDoesNotExist"),
    (b'{"stateMachineArn": "arn:aws:states:eu-west-1:000000000000:stateMachine:a"}', START, 400, "StateMachineDoesNotExist"),
    (b'{"stateMachineArn": "arn:aws:states:us-east-1:111111111111:stateMachine:a"}', START, 400, "AccessDeniedException"),
    (b'{"definition": "{}"}', {"x-amz-target": "AWSStepFunctions.TestState"}, 400, "UnsupportedOperation"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD)
async def test_bad_request(aws, body, headers, status, code):
    """A request that cannot be carried out gets AWS's error, with a request id."""
    got, told, answer = await aws.raw(body, headers)
    assert (got, answer["__type"].partition("#")[2]) == (status, code)
    assert isinstance(answer["message"], str)
    assert answer["message"]
    assert str(uuid.UUID(told["x-amzn-requestid"])) == told["x-amzn-requestid"]
    assert told["content-type"] == "application/x-amz-json-1.0"


VALUES = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "\x00",
    "é" * 2000,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"type": "x"},
    {"destinations": [{}], "level": "ALL"},
    [{"key": None}],
]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
async def test_no_value_breaks_an_operation(aws, operation):
    """Any value in any member gives an answer or a typed error, in every operation."""
    machine = await aws.machine()
    sound = {
        "name": "n", "definition": PASS, "roleArn": ROLE, "stateMachineArn": machine, "taskToken": "t", "output": "1", "resourceArn": machine,
        "executionArn": machine.replace("stateMachine", "execution") + ":x", "activityArn": machine.replace("stateMachine", "activity"), "tags": [], "tagKeys": [],
    }  # fmt: skip
    request = OPERATIONS[operation].request
    for member in request.members:
        for value in VALUES:
            filled = {name: sound[name] for name in request.required if name in sound} | {member: value}
            status, _, answer = await aws.raw(orjson.dumps(filled), {"x-amz-target": f"AWSStepFunctions.{operation}"})
            assert status < 500, (member, value, answer)


@pytest.mark.parametrize("parts", [[b"{" + b" " * 1_048_576 + b"}"], [b"{", b" " * 1_048_576, b"}"]])
async def test_large_body(aws, parts):
    """A body past the limit is refused, as soon as it is."""
    status, _, answer = await aws.raw(parts, LIST)
    assert (status, answer["__type"]) == (413, "com.amazon.coral.service#RequestEntityTooLargeException")


@pytest.mark.parametrize("length", ["1048577", "9" * 5000])
async def test_declared_length(aws, length):
    """A body that is declared too large is not read at all."""
    status, _, _ = await aws.raw([], {**LIST, "content-length": length})
    assert status == 413


async def test_body_in_parts(aws):
    """A body may come in parts."""
    status, _, answer = await aws.raw([b'{"maxRes', b'ults": 5', b"}"], LIST)
    assert (status, answer) == (200, {"stateMachines": []})


async def test_hang_up_within_the_body(aws):
    """Nobody is answered when the caller left while sending."""
    gone = asyncio.Event()
    gone.set()
    assert await aws.raw([], LIST, gone=gone) is None


async def test_method(aws):
    """Only POST carries operations."""
    status, _, answer = await aws.raw(b"", LIST, method="GET")
    assert (status, answer["__type"].partition("#")[2]) == (405, "UnknownOperationException")


async def test_json_1_1_and_sync_host(aws):
    """JSON 1.1 is answered as 1.1, and the host names that SDKs prefix are taken."""
    status, told, _ = await aws.raw(b"{}", {**LIST, "content-type": "application/x-amz-json-1.1", "host": "sync-localhost:8080"})
    assert (status, told["content-type"]) == (200, "application/x-amz-json-1.1")


@pytest.mark.parametrize(
    ("client", "host"), [(("192.0.2.7", 9), "localhost"), (("127.0.0.1", 9), "evil.example"), (("127.0.0.1", 9), "192.0.2.7:80"), (("nobody", 9), "localhost")]
)
async def test_development_mode_is_local(aws, client, host):
    """The development mode lets in nobody from elsewhere, nor a page that pretends to be local."""
    status, _, answer = await aws.raw(b"{}", {**LIST, "host": host}, client=client)
    assert (status, answer["__type"].partition("#")[2]) == (403, "AccessDeniedException")


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:8080", "[::1]:8080", "sync-127.0.0.1:80", "a.localhost"])
async def test_development_mode_local_names(aws, host):
    """All local names will do."""
    assert (await aws.raw(b"{}", {**LIST, "host": host}, client=("::ffff:127.0.0.1", 1)))[0] == 200


async def test_development_account_is_the_access_key(aws):
    """An access key id of 12 digits is the account; accounts do not see each other's things."""
    arn = await aws.machine()
    other = {"authorization": "AWS4-HMAC-SHA256 Credential=111111111111/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=0"}
    assert (await aws.raw(b"{}", {**LIST, **other}))[2] == {"stateMachines": []}
    status, _, answer = await aws.raw(orjson.dumps({"stateMachineArn": arn}), {"x-amz-target": "AWSStepFunctions.DescribeStateMachine", **other})
    assert (status, answer["__type"].partition("#")[2]) == (400, "AccessDeniedException")
    assert answer["message"].startswith("User: arn:aws:iam::111111111111:root is not authorized to perform: states:DescribeStateMachine on resource:")


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, "MissingAuthenticationTokenException"), ({"authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e"}, "UnrecognizedClientException")],
)
async def test_default_is_to_deny(aws, headers, code):
    """Without accounts nobody is let in, and no body is read."""
    closed = Caller(AwsEndpoint(aws.service, DenyAll()))
    status, _, answer = await closed.raw([], {**LIST, **headers})
    assert (status, answer["__type"].partition("#")[2]) == (403, code)


class Holder:
    """Everybody has these permissions."""

    def __init__(self, *permissions):
        self.permissions = frozenset(permissions)

    def admit(self, scope, headers):
        pass

    async def authenticate(self, scope, headers, body):
        return Principal(account=ACCOUNT, permissions=self.permissions, name="user:ada")


@pytest.mark.parametrize("permission", [None, *Permission])
async def test_permissions(aws, permission):
    """A caller does what its permissions name, nothing else, not even what this version does not have; AWS's own words say what was refused."""
    caller = Caller(AwsEndpoint(aws.service, Holder(*filter(None, [permission]))))
    for name, operation in OPERATIONS.items():
        if operation.permission == permission and operation.long:
            continue  # it would wait
        _, _, answer = await caller.raw(b"{}", {"x-amz-target": f"AWSStepFunctions.{name}"})
        denied = answer.get("__type", "").endswith("#AccessDeniedException")
        assert denied == (operation.permission != permission), name
        if denied:
            assert answer["message"].endswith(f"is not authorized to perform: states:{name}")


async def test_denials_are_written_down(aws):
    """Who was refused which operation, in the caller's own audit log."""
    store = MemoryStore()
    audit = AuditLog(store.documents, SystemClock())
    caller = Caller(AwsEndpoint(aws.service, Holder(), denials=Denials(audit)))
    await caller.raw(b"{}", {"x-amz-target": "AWSStepFunctions.CreateStateMachine"})
    (entry,) = await audit.page(ACCOUNT)
    assert (entry.who, entry.action, entry.result, entry.detail) == ("user:ada", "states:CreateStateMachine", "denied", "needs machines:write")


async def test_rate_exceeded(aws):
    """An operation whose rate is used up answers as AWS does, with the time to wait; others go on, and what is refused counts for nothing."""
    seconds = [50.0]
    limited = Caller(AwsEndpoint(aws.service, Development(), limiter=Buckets({"ListActivities": Rate(2, 0.4)}, monotonic=lambda: seconds[0])))
    assert [await limited("ListActivities") for _ in range(2)] == [{"activities": []}] * 2
    for _ in range(3):
        status, told, answer = await limited.raw(b"{}", {"x-amz-target": "AWSStepFunctions.ListActivities"})
        assert (status, answer) == (400, {"__type": "com.amazon.coral.availability#ThrottlingException", "message": "Rate exceeded"})
        assert told["retry-after"] == "3"
    assert await limited("ListStateMachines") == {"stateMachines": []}
    seconds[0] += 2.5
    assert await limited("ListActivities") == {"activities": []}


async def test_stopping_ends_polls(aws):
    """A worker that polls when the server stops is told to try again, which SDKs do by themselves."""
    stopping = asyncio.Event()
    caller = Caller(AwsEndpoint(aws.service, Development(), stopping=stopping))
    aws.service.activity_poll_seconds = 30
    arn = (await caller("CreateActivity", name="work"))["activityArn"]
    polling = asyncio.ensure_future(caller.raw(orjson.dumps({"activityArn": arn}), {"x-amz-target": "AWSStepFunctions.GetActivityTask"}))
    await asyncio.sleep(0)
    stopping.set()
    status, _, answer = await asyncio.wait_for(polling, 5)
    assert (status, answer["__type"].partition("#")[2]) == (503, "ServiceUnavailable")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (StoreUnavailable("secret host name"), 503, "ServiceUnavailable"),
        (FlowRunnerError("secret"), 500, "InternalFailure"),
        (RuntimeError("secret"), 500, "InternalFailure"),
    ],
)
async def test_our_own_failure(aws, monkeypatch, *, raised, status, code):
    """A failure of the server is logged with the request's id; its text is not told. A store that is away needs no traceback."""

    async def machines(*arguments, **named):
        raise raised

    monkeypatch.setattr(aws.service.store.definitions, "machines", machines)
    with structlog.testing.capture_logs() as logged:
        got, told, answer = await aws.raw(b"{}", LIST)
    assert (got, answer["__type"].partition("#")[2]) == (status, code)
    assert "secret" not in answer["message"]
    assert [entry["request_id"] for entry in logged] == [told["x-amzn-requestid"]]
    assert logged[0].get("exc_info", False) is (status == 500)
    assert told.get("retry-after") == ("1" if status == 503 else None)
