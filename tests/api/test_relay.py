"""Streams behind an ASGI server that is not ours: the same messages, by ASGI's own."""

import asyncio
import json

from liveworld import LiveWorld, event, run_id, started

from flowrunner.api.wire import RELAYED, frame, texts

BEGIN = event("ExecutionStarted", input="{}")
END = event("ExecutionSucceeded", output="7")


class Client:
    """The application's other side."""

    def __init__(self, world, path):
        self.said = asyncio.Queue()
        self.heard = asyncio.Queue()
        self.said.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "headers": [],
            "subprotocols": [],
        }
        scope |= {"asgi": {"version": "3.0"}, "http_version": "1.1", "client": ("127.0.0.1", 5), "server": ("localhost", 80), "extensions": {}, "state": {}}
        self.task = asyncio.create_task(world.app(scope, self.said.get, self.heard.put))

    async def message(self):
        heard = await asyncio.wait_for(self.heard.get(), 5)
        return json.loads(heard["text"]) if heard["type"] == "websocket.send" else (heard["type"], heard.get("code"))


async def test_a_run_is_followed_to_its_end():
    """The past, what happens, the end, and the close; more than may wait at once."""
    world = LiveWorld()
    await world.append(BEGIN, *(started(f"s{number}", 1.0) for number in range(3 * RELAYED)))
    client = Client(world, f"/api/v2/workflows/runs/{run_id(1)}/stream")
    assert await client.message() == ("websocket.accept", None)
    seqs = [(await client.message()).get("seq") for _ in range(6 * RELAYED + 1)]
    await world.append(END, status="SUCCEEDED")
    seqs += [(await client.message()).get("seq") for _ in range(2)]
    assert seqs == [1, *(place for seq in range(2, 3 * RELAYED + 2) for place in (None, seq)), 3 * RELAYED + 2, None]
    assert await client.message() == ("websocket.close", 1000)
    await asyncio.wait_for(client.task, 5)
    assert world.feed._topics == {}


async def test_questions_are_answered_and_leaving_is_noticed():
    """`/api/v1/ws` too."""
    world = LiveWorld()
    client = Client(world, "/api/v1/ws")
    assert await client.message() == ("websocket.accept", None)
    client.said.put_nowait({"type": "websocket.receive", "text": '{"type": "ping"}'})
    assert (await client.message())["type"] == "pong"
    client.said.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(client.task, 5)


def test_frames_are_taken_apart():
    """Every form of length."""
    said = ["", "a", "b" * 125, "c" * 126, "d" * 65535, "e" * 65536, "ü"]
    assert texts(b"".join(frame(text.encode()) for text in said)) == said
