"""Tokens at the AWS endpoint, and what a development server makes of credentials that it knows."""

from contextlib import AsyncExitStack

import pytest
from awscaller import Caller

from flowrunner.api.aws import AwsEndpoint, BearerOr, DenyAll, Development, KnownOr
from flowrunner.clock import SystemClock
from flowrunner.identity.permissions import Permission
from flowrunner.identity.principal import SERVER
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.identities import made_identity

ACCOUNT, DEVELOPMENT = "111111111111", "000000000000"
LIST = {"x-amz-target": "AWSStepFunctions.ListActivities"}
CREATE = {"x-amz-target": "AWSStepFunctions.CreateActivity"}


@pytest.fixture
async def identity():
    async with AsyncExitStack() as stack:
        made = await made_identity(MemoryStore().documents, stack, clock=SystemClock())
        await made.accounts.open("ada", "correct horse battery", SERVER, account=ACCOUNT)
        yield made


@pytest.fixture
async def owner(identity):
    (user,) = await identity.users.page(ACCOUNT)
    return user.id


async def asked(aws, authenticator, authorization, headers=LIST, body=b"{}"):
    given = {} if authorization is None else {"authorization": authorization}
    return await Caller(AwsEndpoint(aws.service, authenticator)).raw(body, {**headers, **given})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_is_let_in_to_its_account(aws, identity, owner, scheme):
    """With what it may do, and no more."""
    token = await identity.credentials.issue_token(ACCOUNT, owner, SERVER, scopes=[Permission.MACHINES_READ])
    authenticator = BearerOr(identity.gate, DenyAll())
    status, _, answer = await asked(aws, authenticator, f"{scheme} {token.secret}")
    assert (status, answer) == (200, {"activities": []})
    status, _, answer = await asked(aws, authenticator, f"{scheme} {token.secret}", CREATE, b'{"name": "x"}')
    assert (status, answer["__type"].rpartition("#")[2]) == (400, "AccessDeniedException")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("Bearer flr_nonsense", "UnrecognizedClientException"),
        ("Bearer ", "UnrecognizedClientException"),
        ("Bearer é", "UnrecognizedClientException"),
        ("Basic YTpi", "UnrecognizedClientException"),
        (None, "MissingAuthenticationTokenException"),
    ],
)
async def test_everything_else_is_refused(aws, identity, authorization, code):
    """By AWS's own codes."""
    status, _, answer = await asked(aws, BearerOr(identity.gate, DenyAll()), authorization)
    assert (status, answer["__type"].rpartition("#")[2]) == (403, code)


async def test_development_knows_its_own(aws, identity, owner):
    """A known token and a known key pair mean their account; anything else means the development account, as ever."""
    authenticator = KnownOr(identity.gate, Development(DEVELOPMENT))
    token = await identity.credentials.issue_token(ACCOUNT, owner, SERVER)
    pair = await identity.credentials.issue_access_key(ACCOUNT, owner, SERVER)
    signature = "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=none"
    for authorization, account in (
        (f"Bearer {token.secret}", ACCOUNT),
        (signature.format(pair.entry.id), ACCOUNT),
        ("Bearer flr_nonsense", DEVELOPMENT),
        (signature.format("AKIA" + "A" * 16), DEVELOPMENT),
        (signature.format("test"), DEVELOPMENT),
        (signature.format("222222222222"), "222222222222"),
        (None, DEVELOPMENT),
    ):
        status, _, answer = await asked(aws, authenticator, authorization, CREATE, b'{"name": "x"}')
        assert status == 200, answer
        assert answer["activityArn"].split(":")[4] == account
