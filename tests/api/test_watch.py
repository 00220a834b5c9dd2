"""Open streams of callers who are no longer let in."""

import asyncio
import contextlib
import json
from contextlib import AsyncExitStack

import httpx
import pytest
from test_streams import RUN, World, entered
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowrunner.api.identify import GateAuthenticator
from flowrunner.api.watch import Watch
from flowrunner.clock import SECOND, SystemClock
from flowrunner.errors import StoreUnavailable
from flowrunner.identity.permissions import Permission, Role
from flowrunner.identity.principal import SERVER, Principal
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.clock import ManualClock
from flowrunner.testing.identities import made_identity

PASSWORD = "correct horse battery"
ACCOUNT = "000000000000"  # of the run that World has
OWNER = "000000000001"


class Scripted:
    """An authenticator that says what it is told to."""

    def __init__(self):
        self.answers = []
        self.asked = 0
        self.event = asyncio.Event()

    async def identify(self, scope):
        raise NotImplementedError

    async def still(self, principal):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def changed(self):
        return self.event


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def principal(**changes):
    return Principal(**{"account": ACCOUNT, "permissions": frozenset(), "credential": "token:x", **changes})


async def test_a_revoked_caller_is_found_at_the_next_look():
    """Nothing tells this process of it; it looks."""
    clock, authenticator = ManualClock(), Scripted()
    authenticator.answers = [True, True, False]
    out = asyncio.create_task(Watch(authenticator, clock).until_out(principal()))
    for _ in range(2):
        await settle()
        assert not out.done()
        clock.jump(2)
    await asyncio.wait_for(out, 10)


async def test_a_change_in_this_process_is_seen_at_once():
    """The event asks for a look before its time."""
    clock, authenticator = ManualClock(), Scripted()
    authenticator.answers = [True, False]
    out = asyncio.create_task(Watch(authenticator, clock).until_out(principal()))
    await settle()
    authenticator.event.set()
    await asyncio.wait_for(out, 10)


async def test_a_credential_that_expires():
    """It is over at its moment, between two looks, though the store is away."""
    clock, authenticator = ManualClock(), Scripted()
    authenticator.answers = [StoreUnavailable()] * 9
    out = asyncio.create_task(Watch(authenticator, clock).until_out(principal(expires_at=clock.now() + 2500)))
    for seconds in (2, 0.4):
        await settle()
        clock.jump(seconds)
    await settle()
    assert not out.done()
    clock.jump(0.1)
    await asyncio.wait_for(out, 10)


async def test_a_store_that_is_away_ends_nothing():
    """What cannot be asked is asked again."""
    clock, authenticator = ManualClock(), Scripted()
    authenticator.answers = [StoreUnavailable(), StoreUnavailable(), True, False]
    out = asyncio.create_task(Watch(authenticator, clock).until_out(principal()))
    for _ in range(3):
        await settle()
        assert not out.done()
        clock.jump(2)
    await asyncio.wait_for(out, 10)


async def test_streams_of_one_caller_share_a_watch():
    """A thousand of them ask the store as often as one; the last that goes ends the watch."""
    clock, authenticator = ManualClock(), Scripted()
    watch = Watch(authenticator, clock)
    outs = [asyncio.create_task(watch.until_out(principal())) for _ in range(1000)]
    await settle()
    assert authenticator.asked == 1
    for out in outs[:-1]:
        out.cancel()
    await asyncio.wait(outs[:-1])
    assert watch._watched
    outs[-1].cancel()
    await asyncio.wait(outs)
    assert not watch._watched
    await settle()
    assert clock.jump_to_next() is False


async def test_development_is_not_watched():
    """Who has no credential cannot lose it."""
    authenticator = Scripted()
    out = asyncio.create_task(Watch(authenticator, ManualClock()).until_out(principal(credential="")))
    await settle()
    assert authenticator.asked == 0
    out.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await out


# --- over a real server


@contextlib.asynccontextmanager
async def accounts():
    """A server with accounts, and a run of one of them: (world, identity, viewer's id, viewer's token)."""
    async with AsyncExitStack() as stack:
        store = MemoryStore()
        identity = await made_identity(store.documents, stack, clock=SystemClock())
        await identity.accounts.open("owner", PASSWORD, SERVER, account=OWNER)
        viewer = await identity.users.create(OWNER, "viewer", PASSWORD, Role.VIEWER, SERVER)
        token = await identity.credentials.issue_token(OWNER, viewer.id, SERVER)
        world = World(authenticator=GateAuthenticator(identity.gate), identity=identity)
        world.account = OWNER
        await world.append(entered(1))
        yield await stack.enter_async_context(world.served()), identity, viewer, token


async def closed(stream):
    try:
        while True:
            await stream.recv()
    except ConnectionClosed as ended:
        return ended.rcvd.code


@pytest.mark.parametrize("how", ["revoke", "role", "user", "account", "password"])
async def test_who_is_revoked_is_out(how):
    """A token that is revoked, a user who may less, a user, an account that is deleted: 4401, and an event stream ends."""
    async with accounts() as (world, identity, viewer, token):
        secret = token.secret
        if how == "password":
            secret = identity.logins.issue(OWNER, viewer)
        headers = {"authorization": f"Bearer {secret}"}
        async with (
            connect(f"ws://{world.url}/{RUN}/stream", additional_headers=headers) as stream,
            httpx.AsyncClient() as client,
            client.stream("GET", f"http://{world.url}/{RUN}/stream", headers=headers) as events,
        ):
            assert json.loads(await stream.recv())["seq"] == 1
            assert events.status_code == 200
            match how:
                case "revoke":
                    await identity.credentials.revoke_token(OWNER, token.entry.id, SERVER)
                case "role":
                    await identity.users.change_role(OWNER, viewer.id, Role.WORKER, SERVER)
                case "user":
                    await identity.users.delete(OWNER, viewer.id, SERVER)
                case "account":
                    await identity.accounts.delete(OWNER, SERVER)
                case "password":
                    await identity.users.change_password(OWNER, viewer.id, "another good one", SERVER)
            identity.gate.forget()
            async with asyncio.timeout(5):
                assert await closed(stream) == 4401
                async for _ in events.aiter_raw():
                    pass
            again = await client.get(f"http://{world.url}/{RUN}", headers=headers)
            assert again.status_code == (403 if how == "role" else 401)


async def test_who_expires_is_out_within_a_second():
    """At the moment, not at the next look."""
    async with accounts() as (world, identity, viewer, _):
        token = await identity.credentials.issue_token(OWNER, viewer.id, SERVER, seconds=1)
        async with connect(f"ws://{world.url}/{RUN}/stream", additional_headers={"authorization": f"Bearer {token.secret}"}) as stream:
            async with asyncio.timeout(5):
                assert await closed(stream) == 4401
        late = SystemClock().now() - token.entry.expires_at
        assert 0 <= late < 1 * SECOND


async def test_a_ticket_opens_one_socket():
    """With ?ticket= a page opens a socket without a header; a second one is refused, and so is a request that is no socket."""
    async with accounts() as (world, identity, _, token):
        ticket = await identity.credentials.issue_ticket(await identity.gate.bearer(token.secret))
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{world.url}/{RUN}?ticket={ticket}")).status_code == 401
        async with connect(f"ws://{world.url}/{RUN}/stream?ticket={ticket}") as stream:
            assert json.loads(await stream.recv())["seq"] == 1
            for wrong in (ticket, "tkt_none", ""):
                with pytest.raises(InvalidStatus) as refused:
                    async with connect(f"ws://{world.url}/{RUN}/stream?ticket={wrong}"):
                        pass
                assert refused.value.response.status_code == 401
            await identity.credentials.revoke_token(OWNER, token.entry.id, SERVER)
            identity.gate.forget()
            async with asyncio.timeout(5):
                assert await closed(stream) == 4401  # what the ticket was got with is no longer good


async def test_a_ticket_is_no_wider_than_its_maker():
    """A token without executions:read makes none that has it."""
    async with accounts() as (_, identity, viewer, _token):
        narrow = await identity.credentials.issue_token(OWNER, viewer.id, SERVER, scopes=[Permission.ACCOUNT_READ])
        ticket = await identity.credentials.issue_ticket(await identity.gate.bearer(narrow.secret))
        assert (await identity.gate.ticket(ticket)).permissions == {Permission.ACCOUNT_READ}
