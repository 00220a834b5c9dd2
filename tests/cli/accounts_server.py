"""A server with accounts on a store in memory, as a process: says where it listens, then the first run's token."""

import asyncio
import socket
import sys
from contextlib import AsyncExitStack

from flowrunner.api.app import create_app
from flowrunner.api.identify import GateAuthenticator
from flowrunner.cli.protocol import Server, configuration
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.testing.identities import made_identity

ACCOUNT = "111122223333"


async def no_aws(scope, receive, send):
    raise NotImplementedError


async def main():
    clock = SystemClock()
    store = MemoryStore(clock=clock)
    async with AsyncExitStack() as stack:
        identity = await made_identity(store.documents, stack, clock=clock)
        first = await identity.first_run(ACCOUNT)
        app = create_app(
            store=store, feed=Feed(store.executions, clock), aws=no_aws, authenticator=GateAuthenticator(identity.gate), region="us-east-1",
            observer=NullObserver(), stopping=asyncio.Event(), clock=clock, identity=identity, registration=sys.argv[1],
        )  # fmt: skip
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)  # noqa: FBT003 - the socket's own way to say it
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]} {first.token.secret}\n")
        sys.stdout.flush()
        await Server(configuration(app, drain_seconds=1)).serve(sockets=[listener])


asyncio.run(main())
