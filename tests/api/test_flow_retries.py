"""What `retry` is to a node whose answers are results, through the whole application and against a server."""

import asyncio
import json

import pytest

from applications import serving


class Moody:
    """A server that answers the next of these statuses; once there is only one left, always that."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.asked = 0

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.asked += 1
        writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: 2\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def ask(tmp_path):
    """Runs a flow whose first node asks a server, and gives the execution with its logs."""
    async with serving(tmp_path, "http://localhost/api/v1", store="memory:") as (application, client):

        async def run(moody, node):
            listening = await asyncio.start_server(moody.answer, "127.0.0.1", 0)
            async with listening:
                url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
                nodes = {"ask": {"type": "http.request", "params": {"url": url}, **node}, "next": {"type": "transform"}, "other": {"type": "transform"}}
                text = json.dumps({"metadata": {"name": "Asks"}, "start": "ask", "nodes": nodes})
                flow = (await client.post("/flows", json={"content": text})).json()["id"]
                execution = (await client.post(f"/flows/{flow}/run", json={})).json()["execution_id"]
                async with asyncio.timeout(30):
                    await application.feed.ended(execution)
            shown = (await client.get(f"/executions/{execution}")).json()
            return shown, [line["message"] for line in (await client.get(f"/executions/{execution}/logs")).json()]

        yield run


RETRY = {"max_retries": 2, "wait": "1ms"}


async def test_a_server_error_is_tried_again(ask):
    """Until there is an answer that is none; each retry is logged."""
    moody = Moody(503, 500, 200)
    shown, logs = await ask(moody, {"retry": RETRY, "next": {"success": "next", "server_error": "other"}})
    assert (moody.asked, shown["status"], list(shown["results"])) == (3, "completed", ["ask", "next"])
    retries = [line for line in logs if line.startswith("Retry")]
    assert len(retries) == 2
    assert "(status 503)" in retries[0]


@pytest.mark.parametrize(
    ("edges", "path"), [({"success": "next", "server_error": "other"}, ["ask", "other"]), ({"success": "next", "error": "other"}, ["ask"])]
)
async def test_after_the_last_retry_the_answer_picks_the_edge(ask, edges, path):
    """With the answer as the node's result; a flow without an edge for it ends there, as it does without retries."""
    moody = Moody(503)
    shown, _ = await ask(moody, {"retry": RETRY, "next": edges})
    assert (moody.asked, shown["status"], list(shown["results"]), shown["results"]["ask"]["status_code"]) == (3, "completed", path, 503)


async def test_the_answer_counts_before_the_hooks(ask):
    """A hook that names an edge for any answer hides none from `retry`; after the last one, it picks the edge."""
    moody = Moody(503)
    shown, _ = await ask(moody, {"retry": RETRY, "hooks": {"post": "return 'ok'"}, "next": {"ok": "next", "server_error": "other"}})
    assert (moody.asked, shown["status"], list(shown["results"])) == (3, "completed", ["ask", "next"])


@pytest.mark.parametrize(("status", "node"), [(404, {"retry": RETRY}), (503, {}), (503, {"retry": {"max_retries": 0}})])
async def test_what_is_not_tried_again(ask, status, node):
    """What the same request would be answered again, and anything without `retry`."""
    moody = Moody(status)
    shown, _ = await ask(moody, {**node, "next": "next"})
    assert (moody.asked, list(shown["results"])) == (1, ["ask", "next"])
