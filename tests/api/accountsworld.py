"""A server with two accounts and one person of every role, for tests of who may do what."""

import asyncio
import base64
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx

from flowrunner.api.app import create_app
from flowrunner.api.identify import GateAuthenticator
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.identity.permissions import Role
from flowrunner.identity.principal import SERVER
from flowrunner.identity.service import Identity
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.identities import made_identity
from flowrunner.vault.keys import KeySource
from flowrunner.vault.vault import Vault

PASSWORD = "correct horse battery"
OPERATOR, ONE, TWO, NONE = "000000000001", "111111111111", "222222222222", "333333333333"


@dataclass
class World:
    """`tokens` are API tokens by (account, role) and of the operator; `users` their users' ids."""

    identity: Identity
    client: httpx.AsyncClient
    clock: ManualClock
    app: object
    tokens: dict = field(default_factory=dict)
    users: dict = field(default_factory=dict)

    async def __call__(self, method, path, body=None, *, token=None, basic=None, headers=None):
        """One request; as the owner of account one unless said otherwise."""
        given = dict(headers or {})
        if basic is not None:
            given["authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        elif token is not None:
            given["authorization"] = f"Bearer {self.tokens.get(token, token) if not isinstance(token, tuple) else self.tokens[token]}"
        return await self.client.request(method, f"/api/v1{path}" if path.startswith("/") else path, json=body, headers=given)


async def no_aws(scope, receive, send):
    raise AssertionError


@asynccontextmanager
async def accounts_world(registration="closed", also=None, **settings):
    """`also` makes further settings of the server from its store, its clock and the exit stack."""
    clock = ManualClock(SystemClock().now())
    store = MemoryStore(clock=clock)
    async with AsyncExitStack() as stack:
        identity = await made_identity(store.documents, stack, clock=clock)
        values = {
            "store": store, "feed": Feed(store.executions, clock), "aws": no_aws, "authenticator": GateAuthenticator(identity.gate), "region": "us-east-1",
            "observer": NullObserver(), "stopping": asyncio.Event(), "clock": clock, "identity": identity, "registration": registration,
        }  # fmt: skip
        vault = Vault(store.documents, KeySource(randomness=os.urandom), clock=clock, randomness=os.urandom)
        await vault.start()
        more = {} if also is None else await also(store, clock, stack)
        app = create_app(**{**values, "vault": vault, **settings, **more})
        client = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost"))
        world = World(identity, client, clock, app)
        first = await identity.first_run(OPERATOR)
        world.tokens["operator"] = first.token.secret
        for account, name in ((ONE, "one"), (TWO, "two")):
            await identity.accounts.open(f"{name}-owner", PASSWORD, SERVER, account=account, name=name)
            for role in Role:
                if role is Role.OWNER:
                    (user,) = await identity.users.page(account)
                else:
                    user = await identity.users.create(account, f"{name}-{role}", PASSWORD, role, SERVER)
                world.users[account, role] = user.id
        for (account, role), user in world.users.items():
            world.tokens[account, role] = (await identity.credentials.issue_token(account, user, SERVER)).secret
        yield world
