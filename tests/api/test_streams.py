"""Streams of runs, over a real server and a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowrunner.api.app import create_app
from flowrunner.api.identify import DevAuthenticator, NoAccounts
from flowrunner.cli.protocol import Server, configuration
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.ports.executions import Chunk, Head, StepWrite
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore

ACCOUNT = "000000000000"
RUN = "0" * 31 + "1"
ARN = "arn:aws:states:us-east-1:000000000000:execution:orders:one"


class Closings(NullObserver):
    """Tells when subscribers came and went."""

    def __init__(self):
        self.closed = asyncio.Event()
        self.errors = 0
        self.messages = 0

    def on_socket_messages(self, count):
        self.messages += count

    def on_socket_closed(self, seconds):
        self.closed.set()

    def on_socket_error(self, reason):
        self.errors += 1


async def _aws(scope, receive, send):
    raise AssertionError


class World:
    """A store with one run, and a server that streams it."""

    def __init__(self, **changes):
        self.store = MemoryStore()
        self.feed = Feed(self.store.executions, SystemClock())
        self.observer = Closings()
        self.stopping = asyncio.Event()
        settings = {"authenticator": DevAuthenticator(ACCOUNT), **changes}
        self.app = create_app(
            store=self.store,
            feed=self.feed,
            aws=_aws,
            region="us-east-1",
            observer=self.observer,
            stopping=self.stopping,
            clock=SystemClock(),
            **settings,
        )
        self.head = None
        self.account = ACCOUNT
        self.url = ""

    async def append(self, *records, status="RUNNING"):
        """Commit one step with these records, as the engine does."""
        old = self.head
        values = {
            "id": RUN,
            "account": self.account,
            "machine": "orders",
            "name": "one",
            "revision": "r",
            "input": "{}",
            "seed": b"s" * 16,
            "started_at": 1_700_000_000_000,
        }
        last = old.last_seq if old else 0
        head = Head(**values, status=status, epoch=old.epoch if old else 0, last_seq=last + len(records), output="7" if status == "SUCCEEDED" else None)
        chunk = Chunk(last + 1, len(records), orjson.dumps(records)) if records else None
        self.head = await self.store.executions.commit(StepWrite(head=head, create=old is None, chunk=chunk))
        self.feed.publish(self.head, chunk)

    @contextlib.asynccontextmanager
    async def served(self):
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(configuration(self.app, drain_seconds=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        self.url = f"127.0.0.1:{listener.getsockname()[1]}/api/v2/workflows/runs"
        try:
            yield self
        finally:
            self.stopping.set()
            server.should_exit = True
            await serving


def entered(number, name="A"):
    return {
        "id": number,
        "timestamp": 1_700_000_000 + number,
        "type": "TaskStateEntered",
        "previousEventId": 0,
        "stateEnteredEventDetails": {"name": name, "input": "{}"},
    }


async def test_past_first_then_live_then_the_end():
    """A late subscriber gets what happened, then what happens, then the end, in one order and once."""
    world = World()
    await world.append(entered(1), entered(2))
    async with world.served(), connect(f"ws://{world.url}/{RUN}/stream") as stream:
        assert [json.loads(await stream.recv())["seq"] for _ in range(2)] == [1, 2]
        await world.append(entered(3), status="SUCCEEDED")
        message = json.loads(await stream.recv())
        assert message == {
            "runId": RUN,
            "type": "state_entered",
            "payload": {"eventType": "TaskStateEntered", "eventId": 3, "previousEventId": 0, "name": "A", "input": "{}", "stateType": "Task"},
            "seq": 3,
            "ts": "2023-11-14T22:13:23.000Z",
            "v": 1,
        }
        end = json.loads(await stream.recv())
        assert end["type"] == "end"
        assert "seq" not in end
        assert end["payload"] == {"status": "success", "executionStatus": "SUCCEEDED", "lastSeq": 3, "output": "7"}
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
        assert closed.value.rcvd.code == 1000


async def test_resume_after_a_sequence_number_and_by_arn():
    """?after= leaves out what was seen; the run may be named by its execution ARN."""
    world = World()
    await world.append(entered(1), entered(2), entered(3), status="FAILED")
    async with world.served():
        for name in (RUN, ARN, ARN.replace(":", "%3A")):
            async with connect(f"ws://{world.url}/{name}/stream?after=2") as stream:
                messages = [json.loads(text) async for text in stream]
                assert [message.get("seq") for message in messages] == [3, None]
                assert messages[-1]["payload"]["status"] == "failed"


async def test_after_more_than_there_will_ever_be():
    """Beyond the end of an ended run there is a problem that names its last number, in a socket a close code; while a run goes on, the client waits until it is reached."""
    world = World()
    await world.append(entered(1), entered(2))
    async with world.served(), httpx.AsyncClient() as http:
        async with connect(f"ws://{world.url}/{RUN}/stream?after=3") as stream:
            await world.append(entered(3))
            await world.append(entered(4), status="SUCCEEDED")
            assert [json.loads(text).get("seq") async for text in stream] == [4, None]
        said = "after is 5, but the run has ended and its last sequence number is 4."
        async with connect(f"ws://{world.url}/{RUN}/stream?after=5") as stream:
            with pytest.raises(ConnectionClosed) as closed:
                await stream.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4400, said)
        event_stream = await http.get(f"http://{world.url}/{RUN}/stream?after=5", headers={"accept": "text/event-stream"})
        assert (event_stream.status_code, event_stream.headers["content-type"]) == (400, "application/problem+json")
        assert event_stream.json()["detail"] == said
        async with connect(f"ws://{world.url}/{RUN}/stream?after=4") as stream:
            assert [json.loads(text)["type"] async for text in stream] == ["end"]
        assert (await http.get(f"http://{world.url}/{RUN}/stream", headers={"last-event-id": "5"})).status_code == 204


@pytest.mark.parametrize(("path", "code"), [("f" * 32, 4404), ("nonsense", 4404), (f"{RUN}/stream?after=x", 4400), (f"{RUN}/stream?after=-1", 4400)])
async def test_bad_question_closes_with_a_code_of_its_own(path, code):
    """A browser sees close codes only, so what is wrong is said by one."""
    world = World()
    await world.append(entered(1))
    async with world.served(), connect(f"ws://{world.url}/{path if '/' in path else path + '/stream'}") as stream:
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
        assert closed.value.rcvd.code == code


async def test_refused_before_the_upgrade():
    """Without a credential, or from a page of another origin, there is no socket."""
    world = World(authenticator=NoAccounts())
    async with world.served():
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{world.url}/no/such/path")
        assert refused.value.response.status_code == 404
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{world.url}/{RUN}/stream")
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["code"] == "unauthenticated"
    world = World()
    await world.append(entered(1), status="SUCCEEDED")
    async with world.served():
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{world.url}/{RUN}/stream", origin="https://evil.example")
        assert refused.value.response.status_code == 403
        own = "http://" + world.url.partition("/")[0]
        async with connect(f"ws://{world.url}/{RUN}/stream", origin=own) as stream:
            assert json.loads(await stream.recv())["seq"] == 1


async def _read_on(stream):
    while True:
        await stream.recv()


async def test_slow_reader_is_cut_and_holds_up_nobody():
    """Who takes nothing is closed with 4408; others get everything meanwhile."""
    world = World(send_seconds=0.2)
    big = {"name": "A", "input": "x" * 100_000}
    await world.append(*({**entered(number), "stateEnteredEventDetails": big} for number in range(1, 301)), status="SUCCEEDED")
    async with world.served():
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)  # noqa: FBT003
        host, _, port = world.url.partition("/")[0].partition(":")
        await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
        async with connect(f"ws://{world.url}/{RUN}/stream", sock=plain, max_queue=1, compression=None) as slow:
            await world.observer.closed.wait()
            assert world.observer.errors == 1
            async with connect(f"ws://{world.url}/{RUN}/stream", max_size=None) as quick:
                assert len([message async for message in quick]) == 301
            with pytest.raises(ConnectionClosed) as closed:
                await _read_on(slow)
            assert closed.value.rcvd.code == 4408


async def test_many_followers_get_the_same_messages():
    """Every subscriber of a run gets every message."""
    world = World()
    await world.append(entered(1))
    async with world.served(), contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connect(f"ws://{world.url}/{RUN}/stream")) for _ in range(20)]
        firsts = {await stream.recv() for stream in streams}
        assert len(firsts) == 1
        await world.append(entered(2), status="SUCCEEDED")
        rests = {tuple([text async for text in stream]) for stream in streams}
        assert len(rests) == 1
        assert len(rests.pop()) == 2


async def test_stopping_server_says_that_it_restarts():
    """Streams of a stopping server end with 1012, so clients come back."""
    world = World()
    await world.append(entered(1))
    async with world.served(), connect(f"ws://{world.url}/{RUN}/stream") as stream:
        await stream.recv()
        world.stopping.set()
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
        assert closed.value.rcvd.code == 1012


async def test_client_that_leaves_is_forgotten():
    """When the client goes, the feed has no follower any more."""
    world = World()
    await world.append(entered(1))
    async with world.served():
        async with connect(f"ws://{world.url}/{RUN}/stream") as stream:
            await stream.recv()
        await world.observer.closed.wait()
        assert world.observer.errors == 0
        assert world.feed._topics == {}


async def test_server_sent_events_resume_by_last_event_id():
    """SSE has the sequence number as id; a returning EventSource goes on after it, and 204 tells it that all is over."""
    world = World()
    await world.append(entered(1), entered(2), status="SUCCEEDED")
    async with world.served(), httpx.AsyncClient() as http:
        url = f"http://{world.url}/{RUN}/stream"
        answer = await http.get(url, headers={"accept": "text/event-stream"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = answer.text.strip().split("\n\n")
        assert blocks[0] == "retry: 1000"
        assert [block.split("\n")[0] for block in blocks[1:]] == ["id: 1", "id: 2", "event: end"]
        answer = await http.get(url, headers={"last-event-id": "1"})
        assert [block.split("\n")[0] for block in answer.text.strip().split("\n\n")[1:]] == ["id: 2", "event: end"]
        assert (await http.get(url, headers={"last-event-id": "2"})).status_code == 204
        assert (await http.get(url, headers={"accept": "application/json"})).status_code == 406
        assert (await http.get(url + "?after=x")).status_code == 400
        assert (await http.get(url.replace(RUN, "f" * 32))).status_code == 404


async def test_server_sent_events_go_live():
    """SSE gets live events too."""
    world = World()
    await world.append(entered(1))
    async with world.served(), httpx.AsyncClient() as http, http.stream("GET", f"http://{world.url}/{RUN}/stream") as answer:
        lines = answer.aiter_lines()
        while not (await anext(lines)).startswith("data: "):
            pass
        await world.append(entered(2), status="SUCCEEDED")
        seen = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")]
        assert [message["type"] for message in seen] == ["state_entered", "end"]
