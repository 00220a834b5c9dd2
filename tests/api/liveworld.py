"""A store with runs of flows and workflows, and a server that streams them: on its own port, with a clock of the test's choice."""

import asyncio
import contextlib
import json
import socket

import orjson

from flowrunner.api.app import create_app
from flowrunner.api.identify import DevAuthenticator
from flowrunner.cli.heartbeat import Heartbeat
from flowrunner.cli.protocol import Server, configuration
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.ports.executions import Chunk, Head, StepWrite
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore

ACCOUNT = "000000000000"
STARTED_AT = 1_700_000_000_000


def run_id(number):
    return f"{number:032x}"


class Counts(NullObserver):
    """What metrics are told."""

    def __init__(self):
        self.opened = self.messages = self.errors = 0
        self.reasons = []
        self.closed = asyncio.Queue()

    def on_socket_opened(self):
        self.opened += 1

    def on_socket_messages(self, count):
        self.messages += count

    def on_socket_closed(self, seconds):
        self.closed.put_nowait(seconds)

    def on_socket_error(self, reason):
        self.errors += 1
        self.reasons.append(reason)


async def _aws(scope, receive, send):
    raise AssertionError


class LiveWorld:
    """Runs that a test writes by hand, as the engine would."""

    def __init__(self, *, heartbeat=None, clock=None, app=None, **changes):
        self.store = MemoryStore()
        self.clock = clock or SystemClock()
        self.feed = Feed(self.store.executions, SystemClock())
        self.observer = Counts()
        self.stopping = asyncio.Event()
        self.heartbeat = heartbeat or Heartbeat()
        self.heads = {}
        self.address = ("", 0)
        self.app = app or create_app(
            store=self.store,
            feed=self.feed,
            aws=_aws,
            region="us-east-1",
            observer=self.observer,
            stopping=self.stopping,
            clock=self.clock,
            **{"authenticator": DevAuthenticator(ACCOUNT), **changes},
        )

    async def append(self, *records, run=1, machine="flow/orders", status="RUNNING", account=ACCOUNT):
        """Commit one step with these records."""
        old = self.heads.get(run)
        last = old.last_seq if old else 0
        head = Head(
            id=run_id(run),
            account=account,
            machine=machine,
            name=f"n{run}",
            revision="r",
            input="{}",
            seed=b"s" * 16,
            started_at=STARTED_AT,
            status=status,
            epoch=old.epoch if old else 0,
            last_seq=last + len(records),
            output="7" if status == "SUCCEEDED" else None,
            stopped_at=None if status == "RUNNING" else STARTED_AT + 5000,
        )
        chunk = Chunk(last + 1, len(records), orjson.dumps(records)) if records else None
        self.heads[run] = await self.store.executions.commit(StepWrite(head=head, create=old is None, chunk=chunk))
        self.feed.publish(self.heads[run], chunk)

    @contextlib.asynccontextmanager
    async def served(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        server = Server(configuration(self.app, drain_seconds=1, heartbeat=self.heartbeat))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        self.address = listener.getsockname()
        try:
            yield self
        finally:
            self.stopping.set()
            server.should_exit = True
            await serving

    @property
    def v1(self):
        return f"ws://127.0.0.1:{self.address[1]}/api/v1/ws"

    def stream(self, run=1, query="", scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.address[1]}/api/v2/workflows/runs/{run_id(run)}/stream{query}"


def event(kind, **details):
    name = {"StateEntered": "stateEnteredEventDetails"}.get(kind[-12:], f"{kind[0].lower()}{kind[1:]}EventDetails")
    return {"id": 1, "previousEventId": 0, "timestamp": STARTED_AT / 1000, "type": kind, **({name: details} if details else {})}


def note(kind, step="a", **told):
    return {"timestamp": STARTED_AT / 1000 + 1.5, "type": kind, "note": {"stepId": step, "stepName": step.upper(), **told}}


def started(step="a", progress=50.0, **more):
    return note("StepStarted", step, stepType="transform", progress=progress, **more)


def completed(step="a", output="1"):
    return note("StepCompleted", step, stepType="transform", status="success", duration=12, output=output)


async def told(stream, count):
    """The next messages of a socket."""
    return [json.loads(await stream.recv()) for _ in range(count)]
